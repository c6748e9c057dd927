//! What does every part of a shard need to know about the others?

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arc_swap::ArcSwap;
use longbow_cluster::catalogue::Catalogue;
use longbow_types::{DatasetId, NodeId};
use tokio::sync::{Notify, watch};

use crate::builders::Wake;
use crate::lost::AllLost;
use crate::partition::{Key, Partition};
use crate::wants::Wants;

/// Partitions held by this node.
pub(crate) type Partitions = BTreeMap<Key, Arc<Partition>>;

/// What is shared. All of it is read without waiting.
pub(crate) struct State {
    /// This node.
    pub(crate) me: NodeId,
    partitions: ArcSwap<Partitions>,
    /// Replicas that this node is assigned, and has lost.
    lost: ArcSwap<AllLost>,
    /// Every entry up to this index has been applied where it belongs, or its partition has stopped.
    routed: watch::Sender<u64>,
    /// The catalogue, without producers, as of an index at most `routed`; nothing changed in between.
    catalogue: watch::Sender<Arc<Catalogue>>,
    /// Whether the log was replayed up to where it stood when this node started.
    caught_up: watch::Sender<bool>,
    /// What readers wait for. A keeper that does not get there is cut off from the others, perhaps.
    pub(crate) wants: Wants,
    /// Last index known to be committed.
    pub(crate) committed: AtomicU64,
    /// Bytes of memory that this node may take.
    pub(crate) memory_budget: u64,
    /// Bytes of messages of the log on their way into replicas.
    pub(crate) in_flight: AtomicU64,
    /// Bytes of chunks that are being merged.
    pub(crate) merging: AtomicU64,
    /// Wakes graph builders.
    pub(crate) builders: Arc<Wake>,
    /// Wakes the compactor.
    pub(crate) compactor: Arc<Notify>,
}

impl State {
    /// A node that knows nothing yet, and may take any memory.
    pub(crate) fn new(me: NodeId) -> Self {
        Self {
            me,
            partitions: ArcSwap::default(),
            lost: ArcSwap::default(),
            routed: watch::Sender::new(0),
            catalogue: watch::Sender::new(Arc::new(Catalogue::new())),
            caught_up: watch::Sender::new(false),
            wants: Wants::default(),
            committed: AtomicU64::new(0),
            memory_budget: u64::MAX,
            in_flight: AtomicU64::new(0),
            merging: AtomicU64::new(0),
            builders: Arc::default(),
            compactor: Arc::default(),
        }
    }

    /// Partitions held now.
    pub(crate) fn partitions(&self) -> Arc<Partitions> {
        self.partitions.load_full()
    }

    /// Adds and removes partitions. Called by the node's actor alone.
    pub(crate) fn change_partitions(&self, change: impl FnOnce(&mut Partitions)) {
        let mut partitions = Partitions::clone(&self.partitions.load());
        change(&mut partitions);
        self.partitions.store(Arc::new(partitions));
    }

    /// Replicas that are lost.
    pub(crate) fn lost(&self) -> Arc<AllLost> {
        self.lost.load_full()
    }

    /// The tail alone says which are.
    pub(crate) fn set_lost(&self, lost: AllLost) {
        self.lost.store(Arc::new(lost));
    }

    /// A dataset is gone, and nobody misses its replicas any more.
    pub(crate) fn forget_lost(&self, dataset: DatasetId) {
        if self.lost.load().keys().any(|key| key.dataset == dataset) {
            let mut lost = AllLost::clone(&self.lost.load());
            lost.retain(|key, _| key.dataset != dataset);
            self.set_lost(lost);
        }
    }

    /// Every entry up to this index has been applied where it belongs.
    pub(crate) fn routed(&self) -> u64 {
        *self.routed.borrow()
    }

    /// Follows [`Self::routed`].
    pub(crate) fn watch_routed(&self) -> watch::Receiver<u64> {
        self.routed.subscribe()
    }

    /// The tail alone says how far it has come.
    pub(crate) fn set_routed(&self, index: u64) {
        self.routed.send_replace(index);
    }

    /// The catalogue, without producers.
    pub(crate) fn catalogue(&self) -> Arc<Catalogue> {
        self.catalogue.borrow().clone()
    }

    /// Follows the catalogue.
    pub(crate) fn watch_catalogue(&self) -> watch::Receiver<Arc<Catalogue>> {
        self.catalogue.subscribe()
    }

    /// The tail alone says what the catalogue is.
    pub(crate) fn set_catalogue(&self, catalogue: Catalogue) {
        self.catalogue.send_replace(Arc::new(catalogue));
    }

    /// Whether the log was replayed up to where it stood when this node started.
    pub(crate) fn is_caught_up(&self) -> bool {
        *self.caught_up.borrow()
    }

    /// The tail alone says so, once.
    pub(crate) fn set_caught_up(&self) {
        self.caught_up.send_replace(true);
    }

    /// Waits until [`Self::is_caught_up`].
    pub(crate) async fn caught_up(&self) {
        // The sender lives as long as this state.
        let _ = self.caught_up.subscribe().wait_for(|&caught_up| caught_up).await;
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, FixedSizeListArray, Float32Array, RecordBatch, UInt64Array};
    use arrow::datatypes::{DataType, Field};
    use bytes::Bytes;
    use longbow_storage::batch_to_ipc;
    use longbow_types::schema::vector_type;
    use longbow_types::{Metric, Schema, VectorElement};

    /// Ids and vectors of two elements.
    pub(crate) fn schema() -> Schema {
        let fields = vec![
            Field::new("id", DataType::UInt64, false),
            Field::new("vector", vector_type(VectorElement::F32, 2), false),
        ];
        Schema::new(fields, "id", Metric::L2).unwrap()
    }

    /// One column more.
    pub(crate) fn wider_schema() -> Schema {
        let mut fields: Vec<Field> = schema()
            .arrow()
            .fields()
            .iter()
            .map(|f| Field::clone(f))
            .collect();
        fields.push(Field::new("note", DataType::Utf8, true));
        Schema::new(fields, "id", Metric::L2).unwrap()
    }

    /// Rows whose vector is (id, 0).
    pub(crate) fn upsert_body(ids: &[u64]) -> Bytes {
        let DataType::FixedSizeList(item, size) = vector_type(VectorElement::F32, 2) else {
            unreachable!()
        };
        let values = Float32Array::from_iter_values(ids.iter().flat_map(|&id| [id as f32, 0.0]));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(UInt64Array::from(ids.to_vec())),
            Arc::new(FixedSizeListArray::new(item, size, Arc::new(values), None)),
        ];
        batch_to_ipc(&RecordBatch::try_new(schema().arrow().clone(), columns).unwrap()).unwrap()
    }

    /// The ids alone.
    pub(crate) fn delete_body(ids: &[u64]) -> Bytes {
        let ids: ArrayRef = Arc::new(UInt64Array::from(ids.to_vec()));
        batch_to_ipc(&RecordBatch::try_from_iter_with_nullable([("id", ids, false)]).unwrap()).unwrap()
    }
}
