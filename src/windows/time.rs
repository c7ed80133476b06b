// SPDX-License-Identifier: GPL-2.0-or-later
//! FILETIMEs, units of 100 ns since 1601, and the time of the host.

use jiff::Timestamp;

/// 1970 as FILETIME.
const UNIX_EPOCH: i128 = 116_444_736_000_000_000;

/// A moment as FILETIME; 0 for one before 1601.
pub fn filetime(moment: Timestamp) -> u64 {
    let units = moment.as_nanosecond().div_euclid(100);
    u64::try_from(units.saturating_add(UNIX_EPOCH)).unwrap_or(0)
}

/// The moment of a FILETIME; `None` for 0, which stands for no time, and beyond what can be counted.
pub fn from_filetime(filetime: u64) -> Option<Timestamp> {
    let units = i128::from(filetime).checked_sub(UNIX_EPOCH)?;
    let moment = Timestamp::from_nanosecond(units.checked_mul(100)?).ok()?;
    (filetime != 0).then_some(moment)
}

/// A FILETIME to the second, `2024-05-14 11:26:53 UTC`; `never` for 0, and the number where it is no date.
pub fn filetime_text(filetime: u64) -> String {
    match from_filetime(filetime) {
        Some(moment) => moment.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        None if filetime == 0 => "never".to_owned(),
        None => format!("FILETIME {filetime}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filetimes_are_dates() {
        let moment: Timestamp = "2024-05-14T11:26:53.5897932Z".parse().unwrap();
        assert_eq!(filetime(moment), 133_601_596_135_897_932);
        assert_eq!(
            filetime_text(133_601_596_135_897_932),
            "2024-05-14 11:26:53 UTC"
        );
        assert_eq!(filetime_text(1), "1601-01-01 00:00:00 UTC");
        assert_eq!(filetime_text(0), "never");
        assert_eq!(filetime_text(u64::MAX), format!("FILETIME {}", u64::MAX));
        assert_eq!(filetime("-009999-01-02T01:59:59Z".parse().unwrap()), 0);
    }

    #[test]
    fn filetimes_are_moments() {
        let read = |time| from_filetime(time).map(|read| read.to_string());
        assert_eq!(
            read(133_601_596_135_897_932).as_deref(),
            Some("2024-05-14T11:26:53.5897932Z")
        );
        assert_eq!(read(1).as_deref(), Some("1601-01-01T00:00:00.0000001Z"));
        assert_eq!(read(0), None);
        assert_eq!(read(u64::MAX), None);
    }
}
