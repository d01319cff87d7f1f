//! Where rows come from: files, folders, globs, S3 and stdin, packed or not, as chunks of whole rows.

mod array;
mod chunk;
mod compression;
mod expand;
mod object;
mod record;

pub use chunk::Chunk;
pub use chunk::ChunkReader;
pub use chunk::Framing;
pub use chunk::MAX_ROW_BYTES;
pub use chunk::Refusal;
pub use expand::Origin;
pub use expand::Source;
pub use expand::expand;
pub use object::ObjectStoreOptions;
pub(crate) use record::Cutter;
pub use record::Dialect;
pub use record::Separator;

#[cfg(test)]
mod tests;
