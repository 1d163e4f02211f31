//! mosso
