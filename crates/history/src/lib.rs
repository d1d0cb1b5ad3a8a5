//! What Plimsoll remembers of units, in SQLite.
