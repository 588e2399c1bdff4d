//! What the README shows a newcomer is what the job does: its manifest, the picture of its plan, and the line that proves it.

use crate::support::{repository::read, shop::Shop};

const PICTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/plan.svg");
/// Columns of the terminal in the picture.
const WIDTH: usize = 118;

fn readme() -> String {
    read("README.md")
}

/// The first block of the README in this language.
fn block(language: &str) -> String {
    let readme = readme();
    let (_, rest) = readme.split_once(&format!("```{language}\n")).unwrap();
    rest.split("```").next().unwrap().to_owned()
}

/// The README's environment: Qovery's id of it is the one that the manifest reads.
fn shop() -> Shop {
    Shop::new(&block("yaml"))
}

#[test]
fn the_manifest_of_the_readme_is_short_and_does_what_the_readme_says() {
    let manifest = block("yaml");
    assert!(manifest.lines().count() <= 12, "{manifest}");
    let shop = shop();
    let run = shop.environment.start();
    let proven = run.out.lines().find(|line| line.starts_with("proven: ")).unwrap();
    assert!(readme().contains(proven), "{proven}");
    assert_eq!((shop.account_of("api"), shop.account_of("worker")), ("my-s3-role".to_owned(), "my-s3-role".to_owned()));
    let role = shop.environment.role_name();
    let document = shop.environment.sandbox.aws(|aws| aws.roles()[&role].inline["own-bucket"].clone());
    assert!(document.contains(&format!("arn:aws:s3:::app-{}/*", shop.id)), "{document}");
    assert_eq!(shop.environment.start().writes, 0);
}

#[test]
fn the_picture_is_what_plan_prints() {
    let run = shop().environment.run(&["plan"]).ended(10);
    let mut lines: Vec<String> = run.out.lines().map(str::to_owned).collect();
    // The one thing that differs from run to run.
    let last = lines.pop().unwrap();
    lines.push(last.rsplit_once(", ").unwrap().0.to_owned());
    let mut screen = "\x1b[1m$ qovery-irsa plan\x1b[0m\n".to_owned();
    for line in lines {
        let colour = if line.starts_with("  ") { "\x1b[32m" } else { "" };
        for part in wrapped(&line) {
            screen.extend([colour, &part, "\x1b[0m\n"]);
        }
    }
    let picture = anstyle_svg::Term::new().render_svg(&screen);
    if std::env::var_os("UPDATE_PICTURE").is_some_and(|value| value == "1") {
        std::fs::write(PICTURE, &picture).unwrap();
    }
    assert_eq!(std::fs::read_to_string(PICTURE).unwrap_or_default(), picture, "run this test with UPDATE_PICTURE=1 to draw it anew");
}

/// As a terminal of that width breaks a line, but at spaces where there are any.
fn wrapped(line: &str) -> Vec<String> {
    let (mut parts, mut rest) = (Vec::new(), line.to_owned());
    while rest.len() > WIDTH {
        let at = rest[..WIDTH].rfind(' ').filter(|at| *at > WIDTH / 2).unwrap_or(WIDTH);
        let next = format!("      {}", rest[at..].trim_start());
        rest.truncate(at);
        parts.push(rest);
        rest = next;
    }
    parts.push(rest);
    parts
}
