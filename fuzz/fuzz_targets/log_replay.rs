//! Whatever a segment of the log holds, it is read or refused, and nothing breaks.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    milepost::storage::probe::replay(bytes);
});
