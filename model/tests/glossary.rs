//! The glossary names what there is: every public type of a library crate has its line, and no line is about something else.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const GLOSSARY: &str = include_str!("../src/glossary.md");
/// Of these not every type is a noun of the code: sections of the configuration and arguments of commands are as many.
const NAMED_IN_PART: [&str; 2] = ["terminal", "src"];
/// Without nouns of their own: tests, and the forms of others on the wire.
const WITHOUT_NOUNS: [&str; 4] = ["tests", "testing", "fuzz", "message"];

/// A type, as `file.rs Name`.
type Types = BTreeSet<String>;

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The public types of a folder of sources.
fn public_types(folder: &Path) -> Types {
    let mut types = Types::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).expect("a folder of sources") {
            let path = entry.expect("a file or folder").path();
            if path.file_stem().is_some_and(|name| WITHOUT_NOUNS.iter().any(|without| name == *without)) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let file = path.strip_prefix(folder).expect("a path below the folder").display().to_string();
                let text = std::fs::read_to_string(&path).expect("a source");
                types.extend(text.lines().filter_map(public_type).map(|name| format!("{file} {name}")));
            }
        }
    }
    types
}

fn public_type(line: &str) -> Option<&str> {
    let kinds = ["pub struct ", "pub enum ", "pub trait ", "pub type "];
    let rest = kinds.into_iter().find_map(|kind| line.strip_prefix(kind))?;
    rest.split(|c: char| !c.is_ascii_alphanumeric()).next()
}

/// The crates of the glossary with their lines.
fn sections() -> Vec<(String, Types)> {
    let section = |text: &str| {
        let (name, lines) = text.split_once('`').expect("a name and its lines");
        let entry = |line: &str| {
            let (name, rest) = line.strip_prefix("- **")?.split_once("** (`")?;
            let (file, meaning) = rest.split_once("`): ")?;
            assert!(!meaning.is_empty(), "{line}");
            Some(format!("{file} {name}"))
        };
        (name.to_owned(), lines.lines().filter_map(entry).collect())
    };
    GLOSSARY.split("\n## `").skip(1).map(section).collect()
}

#[test]
fn the_glossary_names_what_there_is() {
    let sections = sections();
    for (name, named) in &sections {
        let folder = workspace().join(if name == "src" { "src".to_owned() } else { format!("{name}/src") });
        let there = public_types(&folder);
        let gone: Vec<&String> = named.difference(&there).collect();
        assert_eq!(gone, [""; 0], "{name}: model/src/glossary.md explains what is not there");
        let missing: Vec<&String> =
            there.difference(named).filter(|_| !NAMED_IN_PART.contains(&name.as_str())).collect();
        assert_eq!(missing, [""; 0], "{name}: say in model/src/glossary.md what these are, in one line each");
    }
    assert_eq!(sections.len(), 13, "each crate has its part");
}
