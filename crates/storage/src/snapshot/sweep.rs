//! Taking away what is not kept: manifests first, so that none lists a file that is gone, then files.

use std::collections::BTreeSet;

use super::error::{Error, Result};
use super::names::Name;
use super::retain::{Condition, dropped, orphans};
use super::{Manifest, Snapshots, store};

/// A snapshot as it was found.
struct Found {
    generation: u64,
    condition: Condition,
    /// Nothing if it cannot be read.
    manifest: Option<Manifest>,
}

impl Snapshots {
    /// Manifests of the snapshots that can be opened, oldest first: as far as their lengths tell, and what was read
    /// of them before. Others have bytes that changed unseen, perhaps; [`Snapshots::verify`] would find them.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn sound(&self) -> Result<Vec<Manifest>> {
        let generations = self.generations()?.into_iter();
        let found: Result<Vec<Found>> = generations.map(|generation| self.judged(generation)).collect();
        let is_sound = |found: &Found| found.condition == Condition::Sound;
        let sound = found?.into_iter().filter(is_sound);
        Ok(sound.filter_map(|found| found.manifest).collect())
    }

    /// Removes files that no snapshot uses, and before, if `keep` says how many are kept, the snapshots beyond.
    pub(super) fn sweep(&mut self, keep: Option<usize>) -> Result<()> {
        let generations = self.generations()?;
        let found = generations.into_iter().map(|generation| self.judged(generation));
        let mut found = found.collect::<Result<Vec<_>>>()?;
        if let Some(keep) = keep {
            let conditions = found.iter().map(|found| (found.generation, found.condition));
            let dropped = dropped(conditions.collect(), keep);
            for &generation in &dropped {
                self.remove(&Name::manifest(generation).to_string())?;
            }
            if !dropped.is_empty() {
                self.sync_names()?;
            }
            found.retain(|found| !dropped.contains(&found.generation));
            self.damaged.retain(|generation| !dropped.contains(generation));
        }
        let used: Option<Vec<&Manifest>> = found.iter().map(|found| found.manifest.as_ref()).collect();
        // What a manifest uses that cannot be read is not known.
        let Some(used) = used else { return Ok(()) };
        let used: BTreeSet<Name> = used
            .into_iter()
            .flat_map(Manifest::files)
            .map(|file| file.name)
            .collect();
        self.known.retain(|(_, file)| used.contains(&file.name));
        for file in orphans(&self.files()?, &used) {
            self.remove(&file)?;
        }
        Ok(())
    }

    fn judged(&self, generation: u64) -> Result<Found> {
        let found = |condition, manifest| {
            Ok(Found {
                generation,
                condition,
                manifest,
            })
        };
        let manifest = match self.manifest(generation) {
            Ok(manifest) => manifest,
            Err(Error::Version { .. }) => return found(Condition::Foreign, None),
            Err(error) if error.is_damage() => return found(Condition::Damaged, None),
            Err(error) => return Err(error),
        };
        let mut is_sound = !self.damaged.contains(&generation);
        for file in manifest.files() {
            match store::check_length(self.disk.as_ref(), file.name, file.sum) {
                Ok(()) => {}
                Err(error) if error.is_damage() => is_sound = false,
                Err(error) => return Err(error),
            }
        }
        let condition = if is_sound {
            Condition::Sound
        } else {
            Condition::Damaged
        };
        found(condition, Some(manifest))
    }

    fn remove(&self, file: &str) -> Result<()> {
        self.disk
            .remove(file)
            .map_err(|source| Error::io("remove", file, source))
    }
}
