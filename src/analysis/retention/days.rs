//! Retention from the indexes beside the files alone: who is in each file, and who is there more than once.

use std::collections::BTreeMap;

use crate::analysis::Entry;
use crate::analysis::Ground;
use crate::analysis::RetentionRequest;
use crate::analysis::days;
use crate::analysis::days::ActivePeriods;
use crate::analysis::days::Asked;
use crate::analysis::ground::Scope;
use crate::analysis::retention::Cohort;
use crate::error::Result;
use crate::sequence::retention::Rules;

/// Whether the request asks for nothing that days of files do not say.
pub(super) fn answers(request: &RetentionRequest, scope: &Scope) -> bool {
    request.start == request.back
        && request.entry == Entry::FirstTime
        && !request.rolling
        && request.by.is_none()
        && request.persons_of.is_none()
        && days::are_whole(&request.start, scope)
}

/// The cohorts by period; none where indexes cannot tell.
pub(super) async fn cohorts(
    request: &RetentionRequest,
    rules: &Rules,
    scope: &Scope,
    ground: &Ground,
) -> Result<Option<BTreeMap<i64, Cohort>>> {
    let asked = Asked {
        event: &request.start.event,
        days: days::days_of(None, scope.until),
        starts: days::days_of(scope.from, scope.end()),
    };
    let active = days::active(asked, |day| request.per.of_day(day), ground).await?;
    Ok(active.map(|active| of_active(&active, rules)))
}

fn of_active(active: &ActivePeriods, rules: &Rules) -> BTreeMap<i64, Cohort> {
    let mut cohorts: BTreeMap<i64, Cohort> = BTreeMap::new();
    let mut reached = vec![false; rules.cells.len()];
    for alike in active.iter() {
        let mut periods = alike.periods();
        let Some(start) = periods.next() else { continue };
        reached.fill(false);
        if alike.again() {
            rules.cells.mark(0, &mut reached);
        }
        for period in periods {
            rules.cells.mark(period - start, &mut reached);
        }
        let cohort = cohorts.entry(start).or_default();
        cohort.persons += alike.persons;
        cohort.returned.resize(reached.len(), 0);
        for (count, reached) in cohort.returned.iter_mut().zip(&reached) {
            *count += if *reached { alike.persons } else { 0 };
        }
    }
    cohorts
}
