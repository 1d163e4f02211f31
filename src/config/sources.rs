//! Where a configuration comes from: a file, the environment in it, and flags that go before it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};

use super::flags::Flag;
use super::tempo_keys::Kind;
use super::yaml::{self, Node};
use super::{Config, environment, flags, moved, tempo_keys};

/// Files of thousands of tenants fit in.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// What a process is told at its start.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    pub file: Option<PathBuf>,
    /// Whether variables of the environment stand in files.
    pub expand_env: bool,
    pub flags: Vec<Flag>,
    /// Names of Tempo's flags that change nothing here.
    pub ignored_flags: Vec<String>,
}

/// A text as a tree, and the variables in it that nobody has set.
pub(super) struct Tree {
    pub root: Node,
    pub missing_variables: Vec<String>,
}

impl Tree {
    /// Reads a file.
    pub(super) fn read(path: &Path, expand_env: bool) -> Result<Self> {
        let bytes = api::read_bounded(path, MAX_FILE_BYTES).with_context(|| format!("read {}", path.display()))?;
        let text = String::from_utf8(bytes).with_context(|| format!("{} is no text in UTF-8", path.display()))?;
        Self::parse(&text, expand_env).map_err(|error| error.in_file(path))
    }

    fn parse(text: &str, expand_env: bool) -> Result<Self, yaml::Error> {
        if !expand_env {
            return Ok(Self { root: Node::parse(text)?, missing_variables: Vec::new() });
        }
        let expanded = environment::expand(text, |name| std::env::var(name).ok());
        Ok(Self { root: Node::parse(&expanded.text)?, missing_variables: expanded.missing })
    }
}

impl Sources {
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self { file: Some(path.into()), ..Self::default() }
    }

    /// Reads and checks what they say together.
    ///
    /// # Errors
    /// One that names the file, the place in it, and the key or value that is wrong.
    pub fn config(&self) -> Result<Config> {
        let tree = match &self.file {
            Some(path) => Tree::read(path, self.expand_env)?,
            None => Tree::parse("", false)?,
        };
        self.checked(tree).map_err(|error| match &self.file {
            Some(path) => error.in_file(path),
            None => anyhow!(error),
        })
    }

    /// The same of a text instead of a file.
    ///
    /// # Errors
    /// One that names the key or value that is wrong, with its line and column.
    pub fn config_of(&self, yaml: &str) -> Result<Config> {
        Ok(self.checked(Tree::parse(yaml, self.expand_env)?)?)
    }

    fn checked(&self, Tree { mut root, missing_variables }: Tree) -> Result<Config, yaml::Error> {
        for Flag { key, value } in &self.flags {
            // under our name, so that it goes before the file's under either
            let key = moved::our_name(key).unwrap_or(key);
            match flags::kind(key) {
                Some(Kind::List) => root.set_list(key, value.split(',').map(str::trim)),
                _ => root.set_text(key, value),
            }
        }
        let moved = moved::settle(&mut root);
        let mut parsed = yaml::read::<Config>(root, tempo_keys::table())?;
        parsed.value.expand_env = self.expand_env;
        parsed.value.moved = moved;
        let mut config = Config::checked(parsed, missing_variables)?;
        let ignored = self.ignored_flags.iter();
        config.remarks.extend(ignored.map(|name| format!("the flag -{name} does not apply here and is ignored")));
        Ok(config)
    }
}
