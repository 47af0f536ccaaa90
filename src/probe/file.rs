//! `file: PATH`: there is something of this name.

use std::path::PathBuf;

use super::{Answer, Aside, LookUps};
use crate::sys::words;

/// Asks for one path.
#[derive(Debug)]
pub struct File {
    path: PathBuf,
    aside: Aside<Answer>,
}

impl File {
    /// `path` is absolute, or relative to the supervisor's folder.
    #[must_use]
    pub const fn new(path: PathBuf, places: LookUps) -> Self {
        Self { path, aside: Aside::new(places) }
    }

    /// Looks once.
    ///
    /// # Errors
    ///
    /// What `stat(2)` says.
    pub async fn ask(&mut self) -> Answer {
        let path = self.path.clone();
        let look = move || match std::fs::metadata(&path) {
            Ok(_) => Ok(()),
            Err(error) => Err(format!("{}: {}", path.display(), words::io(&error))),
        };
        self.aside.ask(look).await.unwrap_or_else(|| Err("the supervisor ends".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_is_there_or_not() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("ready");
        let mut file = File::new(path.clone(), LookUps::default());
        assert_eq!(file.ask().await, Err(format!("{}: no such file or directory", path.display())));
        std::fs::write(&path, "").expect("written");
        assert_eq!(file.ask().await, Ok(()));
    }
}
