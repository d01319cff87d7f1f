//! What SQL answers over a small lake; each file one theme.

mod again;
mod counting;
mod indexed;
mod memory;
mod merged;
mod millis;
mod mistakes;
mod numbers;
mod sequences;
mod tables;

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::array::Float64Array;
use arrow::array::Int64Array;
use arrow::array::StringArray;

use crate::query::Session;
use crate::query::testing::TestLake;
use crate::query::testing::ask;
use crate::query::testing::june;
use crate::schema::Property;
use crate::value::ScalarType;

pub(crate) fn texts(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

pub(crate) fn whole(values: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

pub(crate) fn decimals(values: &[f64]) -> ArrayRef {
    Arc::new(Float64Array::from(values.to_vec()))
}

/// Three days of page views by four persons, and two purchases.
pub(crate) async fn shop() -> TestLake {
    let mut lake = TestLake::new();
    for (id, external) in [(1, Some("ana")), (2, None), (3, Some("iva")), (4, None)] {
        lake.person(id, external);
    }
    lake.define("pageView", vec![Property::scalar("path", ScalarType::String)]);
    let items = [("itemID", ScalarType::Numeric), ("price", ScalarType::Decimal)];
    lake.define("itemPurchased", items.map(|(name, kind)| Property::scalar(name, kind)).to_vec());
    lake.define("idle", vec![]);
    lake.write(
        "pageView",
        june(1),
        &[(1, 10, 1), (1, 20, 2), (2, 30, 3)],
        vec![texts(&["/", "/shoes", "/"])],
    )
    .await;
    lake.write("pageView", june(2), &[(1, 10, 4), (3, 86_399, 5)], vec![texts(&["/hats", "/shoes"])]).await;
    lake.write("pageView", june(2), &[(1, 11, 6), (4, 0, 7)], vec![texts(&["/hats", "/"])]).await;
    lake.write("pageView", june(3), &[(2, 5, 8)], vec![texts(&["/shoes"])]).await;
    let bought = vec![whole(&[7, 9]), decimals(&[19.99, 5.0])];
    lake.write("itemPurchased", june(2), &[(1, 50, 9), (3, 60, 10)], bought).await;
    lake
}

pub(crate) async fn rows(session: &Session, sql: &str) -> Vec<String> {
    ask(session, sql).await.unwrap()
}

pub(crate) async fn failure(session: &Session, sql: &str) -> crate::error::Error {
    ask(session, sql).await.unwrap_err()
}
