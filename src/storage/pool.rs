//! Runs jobs that think or write on a few threads, as many at a time as there are cores to give.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::thread;

use crate::error::Error;
use crate::error::Result;

/// The answers of all jobs, in the order of the jobs, whoever was faster. After a failure no new job is begun, and the first failure is returned.
pub(crate) fn run<J: Send, A: Send>(
    threads: usize,
    jobs: Vec<J>,
    work: impl Fn(J) -> Result<A> + Sync,
) -> Result<Vec<A>> {
    let threads = threads.clamp(1, jobs.len().max(1));
    if threads == 1 {
        return jobs.into_iter().map(work).collect();
    }
    let waiting = Mutex::new(jobs.into_iter().enumerate());
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
    let worker = || {
        let mut answers = Vec::new();
        while let Some((place, job)) = next() {
            match work(job) {
                Ok(answer) => answers.push((place, answer)),
                Err(error) => {
                    while next().is_some() {}
                    return Err(error);
                }
            }
        }
        Ok(answers)
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        let mut all = Vec::new();
        let mut failure = None;
        for worker in workers {
            match worker.join().unwrap_or_else(|_| Err(Error::internal("a storage thread panicked"))) {
                Ok(answers) => all.extend(answers),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        if let Some(failure) = failure {
            return Err(failure);
        }
        all.sort_unstable_by_key(|(place, _)| *place);
        Ok(all.into_iter().map(|(_, answer)| answer).collect())
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn every_job_is_answered_once() {
        let mut answers = run(3, (0..100).collect(), |job: i32| Ok(job * 2)).unwrap();
        answers.sort_unstable();
        assert_eq!(answers, (0..100).map(|job| job * 2).collect::<Vec<_>>());
        assert!(run(3, Vec::<i32>::new(), Ok).unwrap().is_empty());
    }

    #[test]
    fn answers_come_in_the_order_of_the_jobs_when_a_later_job_is_done_first() {
        // The second job ends after the third, which the thread of the first then does too.
        let (begun, done) = (Barrier::new(2), Barrier::new(2));
        let answers = run(2, vec![0, 1, 2], |job| {
            match job {
                0 => _ = begun.wait(),
                1 => _ = (begun.wait(), done.wait()),
                _ => _ = done.wait(),
            }
            Ok(job)
        });
        assert_eq!(answers.unwrap(), [0, 1, 2]);
    }

    #[test]
    fn a_failure_comes_back_and_ends_the_rest() {
        let failed = run(2, (0..10).collect(), |job: i32| match job {
            3 => Err(Error::unavailable("the disk is full")),
            job => Ok(job),
        });
        assert_eq!(failed.unwrap_err().to_string(), "the disk is full");
    }
}
