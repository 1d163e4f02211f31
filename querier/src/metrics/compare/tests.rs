//! What `compare()` costs, and how it ends.
