//! How important the threads of a server are to the system.

use thread_priority::NormalThreadSchedulePolicy;
use thread_priority::ThreadPriority;
use thread_priority::ThreadPriorityValue;
use thread_priority::ThreadSchedulePolicy;
use thread_priority::set_thread_priority_and_policy;
use thread_priority::thread_native_id;

/// Of 100, where 50 is usual: a nice value of 11. A thread with the usual one then gets eleven times the time, when both
/// want all of a core.
const BEHIND: u8 = 20;

/// Lets the threads of this program that are usual go first. What a system does not allow is left as it is.
pub(crate) fn give_way() {
    if let Ok(value) = ThreadPriorityValue::try_from(BEHIND) {
        let policy = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Other);
        let _ =
            set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Crossplatform(value), policy);
    }
}
