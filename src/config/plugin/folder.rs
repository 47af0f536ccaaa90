//! Where a plugin is: `path:`, `plugins/` beside the config, the system's folder, the binary.

use std::fs;
use std::path::{Path, PathBuf};

use super::boxed;
use crate::config::source::{self, Kind};
use crate::spec::script::Origin;

/// Plugins that the image's builder put there.
pub const SYSTEM: &str = "/usr/share/section3/plugins";

/// Files and folders in a plugin; each is looked at before any of them is run.
const MAX_FILES: usize = 1000;

/// A plugin that was found, nothing of it read but its manifest.
#[derive(Clone, Debug)]
pub struct Found {
    /// Where it is.
    pub origin: Origin,
    /// The manifest's name in messages.
    pub file: String,
    /// The manifest.
    pub text: String,
    /// Where else there is one of this name, hidden by this one.
    pub shadowed: Vec<Origin>,
}

/// The folders in which a plugin may lie, for a config in `folder`.
fn shelves(folder: &Path) -> [PathBuf; 2] {
    let own = folder.join("plugins");
    [std::path::absolute(&own).unwrap_or(own), PathBuf::from(SYSTEM)]
}

/// Finds a plugin by its name, or at its `path:`; `None` where there is none.
///
/// # Errors
///
/// Why what is there cannot be used.
pub fn find(name: &str, path: Option<&Path>, folder: &Path) -> Result<Option<Found>, String> {
    let mut places: Vec<Origin> = Vec::new();
    if let Some(path) = path {
        places.push(Origin::Folder(path.to_owned()));
    } else {
        let lying = shelves(folder).into_iter().map(|shelf| shelf.join(name)).filter(|place| place.is_dir());
        places.extend(lying.map(Origin::Folder));
        places.extend(boxed::files(name).map(|_| Origin::Binary));
    }
    if places.is_empty() {
        return Ok(None);
    }
    let origin = places.remove(0);
    let (file, text) = match &origin {
        Origin::Folder(place) => {
            examine(place)?;
            let file = place.join("plugin.yml");
            let text = source::read_small(&file).map_err(|why| format!("{}: {why}", file.display()))?;
            (file.display().to_string(), text)
        }
        Origin::Binary => {
            let files = boxed::files(name).unwrap_or_default();
            let text = files.iter().find(|(file, _)| *file == "plugin.yml").map_or("", |(_, text)| text);
            (format!("plugins/{name}/plugin.yml (in the binary)"), text.to_owned())
        }
    };
    Ok(Some(Found { origin, file, text, shadowed: places }))
}

/// The names of all plugins that a config in `folder` could name, sorted, each once.
#[must_use]
pub fn names(folder: &Path) -> Vec<String> {
    let lying =
        shelves(folder).into_iter().filter_map(|shelf| fs::read_dir(shelf).ok()).flat_map(|entries| entries.take(MAX_FILES));
    let lying = lying.filter_map(Result::ok).filter(|entry| entry.path().join("plugin.yml").is_file());
    let lying = lying.filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> = lying.chain(boxed::names().map(str::to_owned)).collect();
    names.sort();
    names.dedup();
    names
}

/// Looks at everything in a plugin's folder: whoever can write one of its files runs code as us.
fn examine(place: &Path) -> Result<(), String> {
    source::examine(place, Kind::Folder)?;
    let mut folders = vec![place.to_owned()];
    let mut seen = 0;
    while let Some(folder) = folders.pop() {
        let cannot = |error: std::io::Error| format!("{} cannot be listed: {}", folder.display(), crate::sys::words::io(&error));
        for entry in fs::read_dir(&folder).map_err(cannot)? {
            let entry = entry.map_err(cannot)?;
            seen += 1;
            if seen > MAX_FILES {
                return Err(format!("{} holds more than {MAX_FILES} files; a plugin is a few", place.display()));
            }
            let path = entry.path();
            // A link to a file is looked at as that file; one to a folder, whose files nobody looked at, is refused.
            let is_folder = entry.file_type().map_err(cannot)?.is_dir();
            source::examine(&path, if is_folder { Kind::Folder } else { Kind::File })?;
            if is_folder {
                folders.push(path);
            }
        }
    }
    Ok(())
}
