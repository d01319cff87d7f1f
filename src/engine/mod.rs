//! `Engine`: the one object everyone above holds; open, import, execute, export, close.
