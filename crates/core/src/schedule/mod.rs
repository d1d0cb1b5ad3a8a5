//! Who runs when (written next).
