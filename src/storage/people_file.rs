//! The table of persons on the disk, so that not every process makes it anew from a million records: a file that follows
//! from the catalog, is checked as it is read, and is believed only if the catalog names it.
//!
//! ```text
//! magic                                        8 bytes
//! chunk: an Arrow IPC stream of one batch      as many as there are, each from a multiple of 64 on
//! footer: JSON                                 what it was made from, and where the chunks are
//! length:u32 of the footer | xxh3:u64 of it | magic
//! ```

use std::fs;
use std::fs::File;
use std::io;
use std::io::BufWriter;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::array::PrimitiveArray;
use arrow::buffer::Buffer;
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::Int64Type;
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamDecoder;
use arrow::ipc::writer::StreamWriter;
use bytes::Bytes;
use serde::Deserialize;
use serde::Serialize;
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

use crate::error::Result;
use crate::person::CustomAttribute;
use crate::person::CustomAttributes;
use crate::storage::kept_columns::KeptColumns;
use crate::storage::object;

const MAGIC: [u8; 8] = *b"MPpeople";
/// Where a chunk may start: what Arrow reads without copying it.
const ALIGNMENT: usize = 64;
/// Length, hash and magic.
const TAIL_BYTES: u64 = 4 + 8 + 8;

/// Where the file is.
#[derive(Debug)]
pub(crate) struct PeopleFile {
    path: PathBuf,
}

/// What chunks were made from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Made {
    /// The number of the last change that they show.
    pub(crate) change: i64,
    /// The greatest id of a person that was looked at.
    pub(crate) last: i64,
    /// Who was merged, and the person that stands for them.
    pub(crate) merged: Vec<(i64, i64)>,
    pub(crate) attributes: Vec<CustomAttribute>,
}

/// A chunk's ids and columns.
pub(crate) type Rows = (ScalarBuffer<i64>, KeptColumns);

#[derive(Serialize, Deserialize)]
struct Footer {
    name: String,
    made: Made,
    chunks: Vec<Place>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Place {
    at: u64,
    bytes: u64,
    hash: u64,
}

/// A file that is what the catalog says.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) made: Made,
    pub(crate) chunks: Vec<Unopened>,
}

/// A chunk that was not read yet.
#[derive(Debug)]
pub(crate) struct Unopened {
    file: Arc<File>,
    place: Place,
}

impl PeopleFile {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Writes a new file in place of the one that is there; the name that the catalog is to know it by.
    pub(crate) fn write<'a>(
        &self,
        made: Made,
        chunks: impl Iterator<Item = &'a KeptColumns>,
    ) -> io::Result<String> {
        let beside = self.path.with_extension("new");
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder)?;
        }
        let name = Uuid::new_v4().simple().to_string();
        let written = write(&beside, &name, made, chunks).and_then(|()| fs::rename(&beside, &self.path));
        if written.is_err() {
            let _ = fs::remove_file(&beside);
        }
        written.map(|()| name)
    }

    /// What the file of this name says, if it is there and whole.
    pub(crate) fn find(&self, name: &str, attributes: &CustomAttributes) -> Option<Found> {
        let file = File::open(&self.path).ok()?;
        let end = file.metadata().ok()?.len().checked_sub(TAIL_BYTES)?;
        let tail = read(&file, end, TAIL_BYTES)?;
        let (length, rest) = tail.split_first_chunk::<4>()?;
        let (hash, magic) = rest.split_first_chunk::<8>()?;
        let length = u64::from(u32::from_le_bytes(*length));
        let footer = read(&file, end.checked_sub(length)?, length)?;
        if magic != MAGIC || xxh3_64(&footer) != u64::from_le_bytes(*hash) {
            return None;
        }
        let footer: Footer = serde_json::from_slice(&footer).ok()?;
        if footer.name != name || !footer.made.attributes.iter().eq(attributes.iter()) {
            return None;
        }
        let file = Arc::new(file);
        let unopened = |place: Place| Unopened { file: Arc::clone(&file), place };
        Some(Found { made: footer.made, chunks: footer.chunks.into_iter().map(unopened).collect() })
    }

    /// Removes the file, so that nothing of those who are forgotten is left in it.
    pub(crate) fn remove(&self) -> Result<()> {
        object::remove_file(&self.path.with_extension("new"))?;
        object::remove_file(&self.path)
    }
}

impl Unopened {
    /// Reads the chunk; `None` if it is not what was written.
    pub(crate) fn open(&self) -> Option<Rows> {
        let bytes = read(&self.file, self.place.at, self.place.bytes)?;
        if xxh3_64(&bytes) != self.place.hash {
            return None;
        }
        let mut buffer = Buffer::from(Bytes::from(bytes));
        let batch = StreamDecoder::new().decode(&mut buffer).ok()??;
        let ids: &PrimitiveArray<Int64Type> = batch.columns().first()?.as_primitive_opt()?;
        Some((ids.values().clone(), KeptColumns::of_batch(&batch)))
    }
}

fn read(file: &File, at: u64, bytes: u64) -> Option<Vec<u8>> {
    let mut read = vec![0; usize::try_from(bytes).ok()?];
    file.read_exact_at(&mut read, at).ok()?;
    Some(read)
}

fn write<'a>(
    path: &Path,
    name: &str,
    made: Made,
    chunks: impl Iterator<Item = &'a KeptColumns>,
) -> io::Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    out.write_all(&MAGIC)?;
    let mut at = MAGIC.len();
    let mut places = Vec::new();
    let padding = [0; ALIGNMENT];
    for chunk in chunks {
        let gap = at.next_multiple_of(ALIGNMENT) - at;
        out.write_all(&padding[..gap])?;
        at += gap;
        let stream = stream(chunk).map_err(io::Error::other)?;
        out.write_all(&stream)?;
        places.push(Place { at: at as u64, bytes: stream.len() as u64, hash: xxh3_64(&stream) });
        at += stream.len();
    }
    let footer = serde_json::to_vec(&Footer { name: name.to_owned(), made, chunks: places })?;
    out.write_all(&footer)?;
    let length = u32::try_from(footer.len()).map_err(io::Error::other)?;
    out.write_all(&length.to_le_bytes())?;
    out.write_all(&xxh3_64(&footer).to_le_bytes())?;
    out.write_all(&MAGIC)?;
    out.flush()
}

fn stream(chunk: &KeptColumns) -> std::result::Result<Vec<u8>, ArrowError> {
    let batch = chunk.to_batch()?;
    let mut writer = StreamWriter::try_new(Vec::new(), batch.schema_ref())?;
    writer.write(&batch)?;
    writer.finish()?;
    writer.into_inner()
}
