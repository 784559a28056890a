//! What a server's answer means for a download, and how long to wait before the next try.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Url;

/// What of an answer's head a decision depends on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Head {
    pub status: u16,
    /// `Content-Length`.
    pub length: Option<u64>,
    /// `Content-Range`.
    pub range: Option<ContentRange>,
    pub validator: Option<Validator>,
    pub retry_after: Option<String>,
    pub location: Option<String>,
}

/// `Content-Range: bytes 5-9/10`, or `bytes */10`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentRange {
    pub from: Option<u64>,
    pub total: Option<u64>,
}

impl ContentRange {
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (range, total) = text.trim().strip_prefix("bytes")?.trim().split_once('/')?;
        Some(Self {
            from: range.split('-').next()?.parse().ok(),
            total: total.parse().ok(),
        })
    }
}

/// What tells one version of a file from another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Validator {
    Etag(String),
    LastModified(String),
}

impl Validator {
    /// A weak tag says that two versions are as good as equal, not that their bytes are.
    #[must_use]
    pub fn of(etag: Option<&str>, last_modified: Option<&str>) -> Option<Self> {
        match etag.map(str::trim) {
            Some(tag) if !tag.is_empty() && !tag.starts_with("W/") => {
                Some(Self::Etag(tag.to_owned()))
            }
            _ => last_modified.map(|time| Self::LastModified(time.trim().to_owned())),
        }
    }

    /// For `If-Range`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Etag(text) | Self::LastModified(text) => text,
        }
    }
}

/// What is here of a file already.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kept {
    pub bytes: u64,
    /// Of the whole file.
    pub total: Option<u64>,
    pub validator: Option<Validator>,
}

/// What to do about an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The rest of what is here follows.
    Append,
    /// The whole file follows; what is here is worth nothing.
    FromTheStart,
    /// All of it is here.
    Whole,
    /// What is here is of another version: ask again, for all of it.
    Discard,
    Redirect(Url),
    /// It may work later.
    Later {
        why: String,
        after: Option<Duration>,
    },
    /// There is no such file.
    Missing(String),
    /// It will not work.
    Never(String),
}

impl Answer {
    /// What an answer from `url` means.  `now` is the time in seconds since 1970.
    #[must_use]
    pub fn to(head: &Head, kept: &Kept, url: &Url, now: u64) -> Self {
        match head.status {
            200 => Self::FromTheStart,
            206 => partial(head, kept),
            416 if kept.bytes > 0 => {
                let total = head.range.and_then(|range| range.total);
                if total == Some(kept.bytes) && kept.total.is_none_or(|known| known == kept.bytes) {
                    Self::Whole
                } else {
                    Self::Discard
                }
            }
            301 | 302 | 303 | 307 | 308 => {
                let Some(location) = &head.location else {
                    return Self::Never(format!(
                        "it answers {} and does not say where to",
                        head.status
                    ));
                };
                match url.join(location) {
                    Ok(there) => Self::Redirect(there),
                    Err(error) => Self::Never(format!(
                        "it sends on to where nothing is fetched from: {error}"
                    )),
                }
            }
            status @ (408 | 425 | 429 | 500 | 502 | 503 | 504) => Self::Later {
                why: format!("it answers {}", named(status)),
                after: head
                    .retry_after
                    .as_deref()
                    .and_then(|text| retry_after(text, now)),
            },
            status @ (404 | 410) => Self::Missing(format!("it answers {}", named(status))),
            status => Self::Never(format!("it answers {}", named(status))),
        }
    }
}

fn partial(head: &Head, kept: &Kept) -> Answer {
    let Some(range) = head.range else {
        return Answer::Discard;
    };
    let same_total = match (kept.total, range.total) {
        (Some(known), Some(told)) => known == told,
        _ => true,
    };
    let same_version = match (&kept.validator, &head.validator) {
        (Some(known), Some(told)) => known == told,
        _ => true,
    };
    if range.from == Some(kept.bytes) && same_total && same_version {
        Answer::Append
    } else if kept.bytes == 0 {
        // Nothing was asked for but the whole; what this is nobody knows.
        Answer::Never("it answers with a part that nobody asked for".into())
    } else {
        Answer::Discard
    }
}

fn named(status: u16) -> String {
    let name = match status {
        401 => "not without a login",
        403 => "forbidden",
        404 => "not found: no image is published there",
        408 => "timeout",
        410 => "gone",
        416 => "no such range",
        429 => "too many requests",
        500 => "internal error",
        502 => "bad gateway",
        503 => "unavailable",
        504 => "gateway timeout",
        _ => return status.to_string(),
    };
    format!("{status} ({name})")
}

/// Seconds, or a date.
fn retry_after(text: &str, now: u64) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    Some(Duration::from_secs(http_date(text)?.saturating_sub(now)))
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` in seconds since 1970.
fn http_date(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let fields: Vec<&str> = text.split_whitespace().collect();
    let [_, day, month, year, time, "GMT"] = fields[..] else {
        return None;
    };
    let day: u64 = day.parse().ok().filter(|day| (1..=31).contains(day))?;
    let month = MONTHS.iter().position(|name| *name == month)? as u64 + 1;
    let year: u64 = year
        .parse()
        .ok()
        .filter(|year| (1970..=9999).contains(year))?;
    let mut parts = time.split(':').map(|part| part.parse::<u64>().ok());
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    // The year begins in March, so that the leap day is its last.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
    Some((days - 719_468) * 86400 + hour * 3600 + minute * 60 + second)
}

/// How often, and after which pauses, a download is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retries {
    /// In a row, without anything coming.
    pub most: u32,
    pub first: Duration,
    pub longest: Duration,
    /// What a server may ask for with `Retry-After`.
    pub patience: Duration,
}

impl Retries {
    /// The pause after the n-th failure in a row, the first being 1; none: give up.  Half of it is
    /// `chance`, a number from 0 to 1, so that not all the hosts of a house come back at once.
    #[must_use]
    pub fn pause(&self, failures: u32, chance: f64, after: Option<Duration>) -> Option<Duration> {
        if failures > self.most || after.is_some_and(|after| after > self.patience) {
            return None;
        }
        let doubled = self
            .first
            .saturating_mul(1 << failures.saturating_sub(1).min(20))
            .min(self.longest);
        let jittered = doubled.mul_f64(0.5 + 0.5 * chance.clamp(0.0, 1.0));
        Some(after.map_or(jittered, |after| after + jittered.mul_f64(0.1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url() -> Url {
        "https://example.org/x.gz".parse().unwrap()
    }

    fn kept(bytes: u64) -> Kept {
        Kept {
            bytes,
            total: Some(100),
            validator: Some(Validator::Etag("\"a\"".into())),
        }
    }

    fn part(from: u64, total: u64, tag: &str) -> Head {
        Head {
            status: 206,
            range: Some(ContentRange {
                from: Some(from),
                total: Some(total),
            }),
            validator: Validator::of(Some(tag), None),
            ..Head::default()
        }
    }

    fn status(status: u16) -> Head {
        Head {
            status,
            ..Head::default()
        }
    }

    #[test]
    fn a_part_is_taken_only_if_it_fits() {
        let answer = |head: &Head, bytes| Answer::to(head, &kept(bytes), &url(), 0);
        assert_eq!(answer(&part(10, 100, "\"a\""), 10), Answer::Append);
        assert_eq!(answer(&part(9, 100, "\"a\""), 10), Answer::Discard);
        assert_eq!(answer(&part(10, 101, "\"a\""), 10), Answer::Discard);
        assert_eq!(answer(&part(10, 100, "\"b\""), 10), Answer::Discard);
        assert_eq!(answer(&status(206), 10), Answer::Discard);
        assert_eq!(answer(&status(200), 10), Answer::FromTheStart);
        let mut end = status(416);
        assert_eq!(answer(&end, 100), Answer::Discard);
        end.range = ContentRange::parse("bytes */100");
        assert_eq!(answer(&end, 100), Answer::Whole);
        assert_eq!(answer(&end, 90), Answer::Discard);
        assert!(matches!(answer(&end, 0), Answer::Never(_)));
        assert!(matches!(
            answer(&part(3, 100, "\"a\""), 0),
            Answer::Never(_)
        ));
    }

    #[test]
    fn redirects_lead_to_safe_places_only() {
        let mut head = status(302);
        assert!(matches!(
            Answer::to(&head, &Kept::default(), &url(), 0),
            Answer::Never(_)
        ));
        head.location = Some("/y".into());
        let there = "https://example.org/y".parse().unwrap();
        assert_eq!(
            Answer::to(&head, &Kept::default(), &url(), 0),
            Answer::Redirect(there)
        );
        head.location = Some("http://example.org/y".into());
        let Answer::Never(why) = Answer::to(&head, &Kept::default(), &url(), 0) else {
            panic!("followed to plain HTTP");
        };
        assert!(why.contains("plain HTTP"), "{why}");
    }

    #[test]
    fn some_answers_may_change_and_others_will_not() {
        let mut busy = status(503);
        busy.retry_after = Some("7".into());
        let Answer::Later { after, .. } = Answer::to(&busy, &Kept::default(), &url(), 0) else {
            panic!("not tried again");
        };
        assert_eq!(after, Some(Duration::from_secs(7)));
        for missing in [404, 410] {
            assert!(matches!(
                Answer::to(&status(missing), &Kept::default(), &url(), 0),
                Answer::Missing(_)
            ));
        }
        for never in [400, 401, 403, 416, 501] {
            assert!(matches!(
                Answer::to(&status(never), &Kept::default(), &url(), 0),
                Answer::Never(_)
            ));
        }
        for later in [408, 429, 500, 502, 504] {
            assert!(matches!(
                Answer::to(&status(later), &Kept::default(), &url(), 0),
                Answer::Later { .. }
            ));
        }
    }

    #[test]
    fn dates_are_read() {
        assert_eq!(http_date("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(
            http_date("Sun, 06 Nov 1994 08:49:37 GMT"),
            Some(784_111_777)
        );
        assert_eq!(
            http_date("Thu, 29 Feb 2024 12:00:00 GMT"),
            Some(1_709_208_000)
        );
        let soon = retry_after("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_770);
        assert_eq!(soon, Some(Duration::from_secs(7)));
        let past = retry_after("Sun, 06 Nov 1994 08:49:37 GMT", 1 << 40);
        assert_eq!(past, Some(Duration::ZERO));
        for bad in [
            "",
            "soon",
            "-1",
            "Sun, 99 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
        ] {
            assert_eq!(retry_after(bad, 0), None, "{bad}");
        }
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let retries = Retries {
            most: 9,
            first: Duration::from_secs(1),
            longest: Duration::from_secs(60),
            patience: Duration::from_secs(600),
        };
        let seconds = |failures, chance, after: Option<u64>| {
            retries
                .pause(failures, chance, after.map(Duration::from_secs))
                .map(|pause| pause.as_secs_f64())
        };
        assert_eq!(seconds(1, 1.0, None), Some(1.0));
        assert_eq!(seconds(1, 0.0, None), Some(0.5));
        assert_eq!(seconds(4, 1.0, None), Some(8.0));
        assert_eq!(seconds(9, 1.0, None), Some(60.0));
        assert_eq!(seconds(10, 1.0, None), None);
        assert!(seconds(1, 1.0, Some(30)).unwrap() >= 30.0);
        assert_eq!(seconds(1, 1.0, Some(601)), None);
    }

    #[test]
    fn ranges_are_read() {
        let range = |text| ContentRange::parse(text).map(|range| (range.from, range.total));
        assert_eq!(range("bytes 5-9/10"), Some((Some(5), Some(10))));
        assert_eq!(range("bytes */10"), Some((None, Some(10))));
        assert_eq!(range("bytes 5-9/*"), Some((Some(5), None)));
        assert_eq!(range("items 5-9/10"), None);
    }

    #[test]
    fn weak_tags_do_not_count() {
        assert_eq!(Validator::of(Some("W/\"a\""), None), None);
        assert_eq!(
            Validator::of(Some("W/\"a\""), Some("then"))
                .unwrap()
                .as_str(),
            "then"
        );
        assert_eq!(
            Validator::of(Some("\"a\""), Some("then")).unwrap().as_str(),
            "\"a\""
        );
    }
}
