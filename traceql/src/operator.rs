//! The operators of field expressions.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnaryOp {
    Neg,
    Not,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BinaryOp {
    Arithmetic(ArithmeticOp),
    Compare(CompareOp),
    Logic(LogicOp),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArithmeticOp {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CompareOp {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    /// `=~`: the right side is a literal string that compiles as a pattern (the checker sees to it).
    Match,
    /// `!~`
    NotMatch,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogicOp {
    And,
    Or,
}

impl CompareOp {
    /// The operator that means the same with the sides swapped; `None` for patterns, whose sides have fixed roles.
    pub fn mirrored(self) -> Option<Self> {
        match self {
            Self::Eq | Self::Ne => Some(self),
            Self::Lt => Some(Self::Gt),
            Self::Le => Some(Self::Ge),
            Self::Gt => Some(Self::Lt),
            Self::Ge => Some(Self::Le),
            Self::Match | Self::NotMatch => None,
        }
    }

    /// `<`, `<=`, `>`, `>=`
    pub fn is_ordering(self) -> bool {
        matches!(self, Self::Lt | Self::Le | Self::Gt | Self::Ge)
    }

    /// `=~`, `!~`
    pub fn is_pattern(self) -> bool {
        matches!(self, Self::Match | Self::NotMatch)
    }
}
