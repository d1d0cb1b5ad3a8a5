//! Why the history cannot be read or written, and what that means for the file.

use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

/// A failed operation on the history.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The database refused an operation.
    #[error("cannot {operation} the history `{}`: {source}", path.display())]
    Database {
        /// What was tried: `open`, `read`, `write`.
        operation: &'static str,
        /// The database's file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// The operating system refused an operation on the file or its directory.
    #[error("cannot {operation} `{}`: {source}", path.display())]
    File {
        /// What was tried.
        operation: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A newer Plimsoll wrote it.
    #[error(
        "the history `{}` was written by a newer plimsoll (schema {found}, this one knows {known})",
        path.display()
    )]
    Newer {
        /// The database's file.
        path: PathBuf,
        /// The schema's number in the file.
        found: u32,
        /// The newest schema that this version knows.
        known: u32,
    },
    /// An older Plimsoll wrote it, and it cannot be migrated because it cannot be written.
    #[error("the history `{}` has an older schema ({found}) and cannot be written", path.display())]
    Older {
        /// The database's file.
        path: PathBuf,
        /// The schema's number in the file.
        found: u32,
    },
}

/// What an error says about the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Its contents make no sense: it is to be set aside.
    Damaged,
    /// Another process holds it: to be tried again, or done without.
    Locked,
    /// Its contents are for another version: to be left alone.
    OtherVersion,
    /// It, its directory or its disk cannot be written: it may still be read.
    Unwritable,
}

impl HistoryError {
    /// Names the operation and the file of what SQLite said.
    pub(crate) fn database(
        operation: &'static str,
        path: &Path,
    ) -> impl FnOnce(rusqlite::Error) -> Self {
        move |source| Self::Database { operation, path: path.to_owned(), source }
    }

    /// What this says about the file.
    pub(crate) fn trouble(&self) -> Trouble {
        match self {
            Self::Newer { .. } | Self::Older { .. } => Trouble::OtherVersion,
            Self::File { .. } => Trouble::Unwritable,
            Self::Database { source, .. } => match source.sqlite_error_code() {
                Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Trouble::Locked,
                // SQLITE_ERROR is "no such table" or "no such column": the schema's number lies.
                Some(
                    ErrorCode::DatabaseCorrupt
                    | ErrorCode::NotADatabase
                    | ErrorCode::ConstraintViolation
                    | ErrorCode::TypeMismatch
                    | ErrorCode::Unknown,
                ) => Trouble::Damaged,
                // `None`: a value of a type that we never wrote.
                None => Trouble::Damaged,
                Some(_) => Trouble::Unwritable,
            },
        }
    }
}
