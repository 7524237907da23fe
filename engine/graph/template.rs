//! A text with placeholders, as a command line and the paths of what it makes are given.

/// A text with placeholders.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Template {
    /// In order; no two texts follow each other.
    pub(crate) pieces: Vec<Piece>,
}

impl Template {
    /// The pieces in order; no two texts follow each other.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }
}

/// A piece of a [`Template`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Text that stands for itself.
    Text(String),
    /// The scalar of the config that these keys lead to.
    Config(Vec<String>),
    /// The path of the input of this name.
    Input(String),
    /// The path at which the output of this name is to be made.
    Output(String),
    /// What the item is called for which the command runs; with a word, a part of its name or the value of a column.
    Item(Option<String>),
}
