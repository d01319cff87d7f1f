//! Text to `Statement`: our additions to SQL; parses only, runs nothing.
