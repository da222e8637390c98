//! regsweep
