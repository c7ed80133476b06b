// SPDX-License-Identifier: GPL-2.0-or-later
//! Pages in a browser: nothing that a disk says comes alive, nothing overflows, light, dark and paper are right.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::string_slice
)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

const BROWSER: &str = "chromium-headless-shell";
const HOSTILE: &str = "<script>document.title=\"owned\"</script><img src=x onerror=alert(1)>\"'";

/// What the measuring script leaves in the title: the page itself may not run any.
const MEASURE: &str = r#"<script>
const root = document.documentElement;
const wide = [...document.querySelectorAll("body *")].filter(element => {
    const box = element.getBoundingClientRect();
    return box.right > root.clientWidth + 1 || box.left < -1;
});
document.title = JSON.stringify({
    overflow: root.scrollWidth - root.clientWidth,
    wide: wide.map(element => element.outerHTML.slice(0, 120)),
    background: getComputedStyle(document.body).backgroundColor,
    loaded: performance.getEntriesByType("resource").length,
    language: root.lang,
    headings: [...document.querySelectorAll("h1,h2,h3,h4")].map(heading => +heading.tagName[1]),
    unnamed: document.querySelectorAll("svg:not([aria-label]), th:not([scope])").length,
    pictures: document.querySelectorAll("svg").length,
    styled: getComputedStyle(document.querySelector(".verdict")).display,
});
</script>"#;

/// Runs the browser on a page and gives what it prints.
fn browse(folder: &Path, page: &Path, arguments: &[&str]) -> String {
    let output = support::run(
        support::program(BROWSER)
            .env("HOME", folder)
            .current_dir(folder)
            .args([
                "--no-sandbox",
                "--disable-gpu",
                "--headless",
                "--hide-scrollbars",
            ])
            .arg(format!(
                "--user-data-dir={}",
                folder.join("profile").display()
            ))
            .args(arguments)
            .arg(format!("file://{}", page.display())),
    );
    String::from_utf8(output.stdout).unwrap()
}

fn without_policy(page: &str) -> String {
    let start = page
        .find("<meta http-equiv=\"Content-Security-Policy\"")
        .unwrap();
    let end = start + page[start..].find('>').unwrap() + 1;
    format!("{}{}", &page[..start], &page[end..])
}

fn title(dom: &str) -> &str {
    let start = dom.find("<title>").unwrap() + 7;
    &dom[start..start + dom[start..].find("</title>").unwrap()]
}

/// Measures a page as a window of this size shows it.
fn measure(folder: &Path, page: &Path, width: u32, dark: bool) -> Value {
    let text = without_policy(&fs::read_to_string(page).unwrap());
    let measured = folder.join("measured.html");
    fs::write(
        &measured,
        text.replace("</body>", &format!("{MEASURE}</body>")),
    )
    .unwrap();
    let size = format!("--window-size={width},900");
    let scheme = format!("--blink-settings=preferredColorScheme={}", i32::from(!dark));
    let dom = browse(folder, &measured, &[&size, &scheme, "--dump-dom"]);
    let json = title(&dom)
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&");
    serde_json::from_str(&json).expect("what was measured")
}

/// Pages of a hostile disk: many targets in English, a repair in Japanese.
fn pages(folder: &Path) -> Option<[PathBuf; 2]> {
    let disk = support::fixture("gpt-broken.raw", folder)?;
    let server = support::fixture("folder/demo", folder)?;
    let logs = server.join("Windows/System32/winevt/Logs");
    fs::create_dir_all(&logs).unwrap();
    for (packed, name) in [
        ("dc-2021-system.evtx.xz", "System.evtx"),
        ("security-short-4625.evtx.xz", "Security.evtx"),
        (
            "dc-2021-rcm.evtx.xz",
            "Microsoft-Windows-TerminalServices-RemoteConnectionManager%4Operational.evtx",
        ),
    ] {
        let log = support::unxz(&support::data(&format!("evtx/{packed}"))?);
        fs::write(logs.join(name), log).unwrap();
    }
    let key = r"HKLM\SYSTEM\CurrentControlSet\Control\ComputerName\ComputerName";
    support::run(
        support::coldfix(folder)
            .args(["reg", "add"])
            .arg(&disk)
            .args([
                key,
                "-v",
                "ComputerName",
                "-t",
                "REG_SZ",
                "-d",
                HOSTILE,
                "-f",
                "--yes",
            ]),
    );
    let many = folder.join("many.html");
    let output = support::coldfix(folder)
        .args(["diagnose", "--format", "html", "-o"])
        .args([&many, &disk, &server, &folder.join("is not there")])
        .output()
        .unwrap();
    support::ends(&output, 2);
    let repair = folder.join("repair.html");
    let output = support::coldfix(folder)
        .args([
            "repair",
            "--format",
            "html",
            "--lang",
            "ja",
            "--dry-run",
            "-o",
        ])
        .args([&repair, &disk])
        .output()
        .unwrap();
    support::ends(&output, 1);
    Some([many, repair])
}

#[test]
fn a_hostile_name_is_text_and_no_script_runs() {
    if !support::require(BROWSER) {
        return;
    }
    let folder = support::temporary();
    let Some([many, _]) = pages(folder.path()) else {
        return;
    };
    let page = fs::read_to_string(&many).unwrap();
    let dom = browse(folder.path(), &many, &["--dump-dom"]);
    assert_eq!(title(&dom), "coldfix: why Remote Desktop does not answer");
    assert!(
        dom.contains("&lt;script&gt;document.title="),
        "the name is shown"
    );
    assert!(!dom.contains("<script") && !dom.contains("<img"));
    // A script that found its way into the page all the same is stopped by the policy, and by nothing else.
    let script = "<script>document.title='owned'</script></body>";
    let smuggled = folder.path().join("smuggled.html");
    for (page, expected) in [(page.clone(), false), (without_policy(&page), true)] {
        fs::write(&smuggled, page.replace("</body>", script)).unwrap();
        let dom = browse(folder.path(), &smuggled, &["--dump-dom"]);
        assert_eq!(title(&dom) == "owned", expected);
    }
}

#[test]
fn pages_fit_every_window_and_load_nothing() {
    if !support::require(BROWSER) {
        return;
    }
    let folder = support::temporary();
    let Some(pages) = pages(folder.path()) else {
        return;
    };
    for (page, language, pictures) in [(&pages[0], "en", 2), (&pages[1], "ja", 1)] {
        for width in [360, 768, 1280, 1920] {
            for (dark, background) in [(false, "rgb(255, 255, 255)"), (true, "rgb(20, 24, 28)")] {
                let found = measure(folder.path(), page, width, dark);
                assert_eq!(found["overflow"], 0, "{width}: {found}");
                assert_eq!(found["wide"], serde_json::json!([]), "{width}");
                assert_eq!(found["background"], background);
                assert_eq!(found["loaded"], 0);
                assert_eq!(found["language"], language);
                assert_eq!(found["unnamed"], 0);
                assert_eq!(found["pictures"], pictures);
                assert_eq!(found["styled"], "flex");
                // No level of heading is left out.
                let levels: Vec<i64> = found["headings"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|level| level.as_i64().unwrap())
                    .collect();
                assert!(
                    levels.windows(2).all(|pair| pair[1] <= pair[0] + 1),
                    "{levels:?}"
                );
                assert_eq!(levels.iter().filter(|level| **level == 1).count(), 1);
            }
        }
    }
    // The measure sees what is too wide.
    let wide = folder.path().join("wide.html");
    let page = fs::read_to_string(&pages[0]).unwrap();
    fs::write(
        &wide,
        page.replace(
            "<footer>",
            "<footer><pre>x</pre><svg width=\"3000\" height=\"9\" aria-label=\"\">",
        ),
    )
    .unwrap();
    let text = fs::read_to_string(&wide)
        .unwrap()
        .replace("svg { display: block; width: 100%;", "svg { ");
    fs::write(&wide, text).unwrap();
    assert_ne!(measure(folder.path(), &wide, 768, false)["overflow"], 0);
}

#[test]
fn the_policy_lets_the_style_apply_and_light_differs_from_dark() {
    if !support::require(BROWSER) {
        return;
    }
    let folder = support::temporary();
    let Some([many, _]) = pages(folder.path()) else {
        return;
    };
    let shot = |page: &Path, name: &str, scheme: u8| -> Vec<u8> {
        let file = folder.path().join(name);
        let screenshot = format!("--screenshot={}", file.display());
        let scheme = format!("--blink-settings=preferredColorScheme={scheme}");
        browse(
            folder.path(),
            page,
            &[&screenshot, &scheme, "--window-size=900,900"],
        );
        fs::read(file).unwrap()
    };
    let light = shot(&many, "light.png", 1);
    assert_eq!(shot(&many, "again.png", 1), light, "the same twice");
    assert_ne!(shot(&many, "dark.png", 0), light);
    // As it looks without the policy, so the style is not kept from it; and not as it looks without a style.
    let page = fs::read_to_string(&many).unwrap();
    let other = folder.path().join("other.html");
    fs::write(&other, without_policy(&page)).unwrap();
    assert_eq!(shot(&other, "other.png", 1), light);
    fs::write(&other, page.replace("<style>", "<style> ")).unwrap();
    assert_ne!(
        shot(&other, "unstyled.png", 1),
        light,
        "the hash is that of the style"
    );
}

#[test]
fn pages_print_on_white_paper_with_everything_on_them() {
    for tool in [BROWSER, "pdftotext", "pdftoppm"] {
        if !support::require(tool) {
            return;
        }
    }
    let folder = support::temporary();
    let Some(pages) = pages(folder.path()) else {
        return;
    };
    for (page, texts) in [
        (
            &pages[0],
            [
                "Made by coldfix",
                "Overview",
                "TLS 1.2 is disabled for servers",
                "Map of the disk",
            ],
        ),
        (
            &pages[1],
            [
                "変更内容",
                "ディスク マップ",
                "修復前に検出された項目",
                "コマンド",
            ],
        ),
    ] {
        let pdf = folder.path().join("page.pdf");
        let to = format!("--print-to-pdf={}", pdf.display());
        let dark = "--blink-settings=preferredColorScheme=0";
        browse(folder.path(), page, &[&to, dark, "--no-pdf-header-footer"]);
        let text = support::run(
            support::program("pdftotext")
                .args(["-layout"])
                .arg(&pdf)
                .arg("-"),
        );
        let text = String::from_utf8(text.stdout).unwrap();
        let blanks = |text: &str| text.split_whitespace().collect::<String>();
        for wanted in texts {
            assert!(blanks(&text).contains(&blanks(wanted)), "{wanted}: {text}");
        }
        let picture = support::run(
            support::program("pdftoppm")
                .args(["-r", "20", "-gray", "-f", "1", "-l", "1"])
                .arg(&pdf),
        );
        // The margin and most of the page are white, whatever the scheme of the screen.
        let pixels = &picture.stdout[picture.stdout.len() - 30_000..];
        let white = pixels.iter().filter(|pixel| **pixel > 250).count();
        assert!(white > 20_000, "{white} of 30000");
        assert!(
            pixels[pixels.len() - 1_000..]
                .iter()
                .all(|pixel| *pixel > 250)
        );
    }
}
