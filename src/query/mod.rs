//! SQL over a snapshot: sessions, tables, functions, limits and cancellation.
