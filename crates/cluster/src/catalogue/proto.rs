//! The catalogue as a message: what checkpoints hold and watchers are sent.

use std::{collections::VecDeque, sync::Arc};

use longbow_types::{DatasetId, Error, ErrorCode, NodeId, Result};
use longbow_wire::internal::{
    self, CatalogueDataset, CatalogueIncarnation, CatalogueProducer, ProducerAnswer, ReplicaSet,
};

use super::{
    ANSWERS_MAX, Catalogue, Dataset, PRODUCERS_MAX, is_accepted,
    producers::{Answer, Producers},
};

impl Catalogue {
    /// The catalogue as a message; watchers have no use for producers.
    pub fn to_proto(&self, with_producers: bool) -> internal::Catalogue {
        let producers = with_producers.then(|| self.producers.iter().map(producer_to_proto));
        internal::Catalogue {
            applied_index: self.applied_index,
            datasets: self.datasets.values().map(|d| dataset_to_proto(d)).collect(),
            shards: self.shards.iter().map(|node| node.as_str().to_owned()).collect(),
            map_epoch: self.map_epoch,
            producers: producers.into_iter().flatten().collect(),
            log_id: self.log_id,
            log_time_ms: self.log_time_ms,
            incarnations: self.incarnations.iter().map(incarnation_to_proto).collect(),
        }
    }

    /// Inverse of [`Catalogue::to_proto`]. Checks everything that `apply` relies on.
    pub fn from_proto(message: &internal::Catalogue) -> Result<Self> {
        let mut catalogue = Self {
            applied_index: message.applied_index,
            log_id: message.log_id,
            log_time_ms: message.log_time_ms,
            map_epoch: message.map_epoch.max(1),
            ..Self::new()
        };
        for life in &message.incarnations {
            let last = catalogue.incarnations.last_key_value();
            let rises = last.is_none_or(|(&number, &began)| life.incarnation > number && life.began > began);
            if !rises || life.incarnation <= 1 || life.began > catalogue.applied_index {
                return Err(corrupt("lives of the log out of order", "incarnations"));
            }
            catalogue.incarnations.insert(life.incarnation, life.began);
        }
        for node in &message.shards {
            catalogue.shards.insert(node.parse()?);
        }
        for dataset in &message.datasets {
            let dataset = dataset_from_proto(dataset)?;
            let name_is_new = catalogue
                .by_name
                .insert(dataset.name.clone(), dataset.id)
                .is_none();
            let id_is_new = catalogue.datasets.insert(dataset.id, Arc::new(dataset)).is_none();
            if !name_is_new || !id_is_new {
                return Err(corrupt("two datasets of one name or id", "datasets"));
            }
        }
        catalogue.producers = producers_from_proto(&message.producers)?;
        Ok(catalogue)
    }
}

fn incarnation_to_proto((&incarnation, &began): (&u32, &u64)) -> CatalogueIncarnation {
    CatalogueIncarnation { incarnation, began }
}

fn dataset_to_proto(dataset: &Dataset) -> CatalogueDataset {
    let replicas = |nodes: &Vec<NodeId>| ReplicaSet {
        node_ids: nodes.iter().map(|node| node.as_str().to_owned()).collect(),
    };
    CatalogueDataset {
        dataset_id: dataset.id.0,
        name: dataset.name.clone(),
        schema_version: dataset.schema_version,
        schema: dataset.schema.clone(),
        partitions: dataset.partitions.iter().map(replicas).collect(),
        rows_expire: dataset.rows_expire,
    }
}

fn dataset_from_proto(message: &CatalogueDataset) -> Result<Dataset> {
    let replicas = |set: &ReplicaSet| set.node_ids.iter().map(|text| text.parse()).collect();
    Ok(Dataset {
        id: DatasetId(message.dataset_id),
        name: message.name.clone(),
        schema_version: message.schema_version,
        schema: message.schema.clone(),
        partitions: message.partitions.iter().map(replicas).collect::<Result<_>>()?,
        rows_expire: message.rows_expire,
    })
}

fn producer_to_proto((producer, window): (u64, &super::producers::Window)) -> CatalogueProducer {
    let answer = |answer: &Answer| ProducerAnswer {
        sequence: answer.sequence,
        index: answer.index,
        verdict: answer.refusal.as_deref().cloned(),
    };
    CatalogueProducer {
        producer,
        answers: window.answers.iter().map(answer).collect(),
    }
}

fn producers_from_proto(messages: &[CatalogueProducer]) -> Result<Producers> {
    if messages.len() > PRODUCERS_MAX {
        return Err(corrupt("more producers than there can be", "producers").limit(PRODUCERS_MAX));
    }
    let mut producers = Producers::default();
    for message in messages {
        if message.answers.len() > ANSWERS_MAX {
            return Err(corrupt("more answers than there can be", "producers").limit(ANSWERS_MAX));
        }
        let answers: VecDeque<Answer> = message
            .answers
            .iter()
            .map(|answer| Answer {
                sequence: answer.sequence,
                index: answer.index,
                refusal: answer.verdict.clone().filter(|v| !is_accepted(v)).map(Box::new),
            })
            .collect();
        let sorted = answers
            .iter()
            .zip(answers.iter().skip(1))
            .all(|(a, b)| a.sequence < b.sequence);
        if !sorted || producers.contains(message.producer) {
            return Err(corrupt("answers out of order, or a producer twice", "producers"));
        }
        producers.restore(message.producer, answers);
    }
    Ok(producers)
}

fn corrupt(message: &'static str, field: &'static str) -> Error {
    Error::new(ErrorCode::Corruption, message).field(field)
}
