//! Rows of the tables, read.

use jiff::Timestamp;
use rusqlite::types::Type;
use rusqlite::{Error, Result, Row};
use serde::de::DeserializeOwned;

use crate::protocol::{Order, What};

/// A student of the class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Her number.
    pub id: u64,
    /// What her machine calls itself.
    pub client: String,
    /// Her name, as she wrote it.
    pub name: String,
    /// The version of her program.
    pub version: String,
    /// When she joined first.
    pub joined: Timestamp,
    /// When she was heard of last.
    pub seen: Timestamp,
    /// True where she has left the class.
    pub has_left: bool,
}

/// An event as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Whose.
    pub student: u64,
    /// Its number among hers.
    pub number: u64,
    /// When, by her clock.
    pub at: Timestamp,
    /// When it came in.
    pub received: Timestamp,
    /// What.
    pub what: What,
}

/// A raised hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hand {
    /// Whose.
    pub student: u64,
    /// Number of the event that raised it.
    pub number: u64,
    /// Since when.
    pub at: Timestamp,
    /// [`What::HandRaised`].
    pub what: What,
    /// Which teacher has taken it, if one has.
    pub taken_by: Option<String>,
    /// When.
    pub taken: Option<Timestamp>,
}

pub(super) fn member(row: &Row<'_>) -> Result<Member> {
    Ok(Member {
        id: number(row, 0)?,
        client: row.get(1)?,
        name: row.get(2)?,
        version: row.get(3)?,
        joined: time(row.get(4)?),
        seen: time(row.get(5)?),
        has_left: row.get(6)?,
    })
}

/// None for an event of a kind that this program does not know: it was kept by a newer one.
pub(super) fn record(row: &Row<'_>) -> Result<Option<Record>> {
    let Some(what) = known(row, 4)? else {
        return Ok(None);
    };
    Ok(Some(Record {
        student: number(row, 0)?,
        number: number(row, 1)?,
        at: time(row.get(2)?),
        received: time(row.get(3)?),
        what,
    }))
}

pub(super) fn order(row: &Row<'_>) -> Result<Option<Order>> {
    let Some(wish) = known(row, 2)? else {
        return Ok(None);
    };
    Ok(Some(Order {
        number: number(row, 0)?,
        at: time(row.get(1)?),
        wish,
    }))
}

pub(super) fn hand(row: &Row<'_>) -> Result<Option<Hand>> {
    let Some(what) = known(row, 3)? else {
        return Ok(None);
    };
    Ok(Some(Hand {
        student: number(row, 0)?,
        number: number(row, 1)?,
        at: time(row.get(2)?),
        what,
        taken_by: row.get(4)?,
        taken: row.get::<_, Option<i64>>(5)?.map(time),
    }))
}

/// A number, which SQLite keeps with a sign.
pub(super) fn number(row: &Row<'_>, column: usize) -> Result<u64> {
    let number: i64 = row.get(column)?;
    u64::try_from(number)
        .map_err(|error| Error::FromSqlConversionFailure(column, Type::Integer, Box::new(error)))
}

/// A number, to be kept. Those beyond the range of SQLite are no numbers of ours.
pub(super) fn id(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A time in milliseconds.
pub(super) fn time(millisecond: i64) -> Timestamp {
    Timestamp::from_millisecond(millisecond).unwrap_or(Timestamp::MIN)
}

fn known<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> Result<Option<T>> {
    let text: String = row.get(column)?;
    Ok(serde_json::from_str(&text).ok())
}
