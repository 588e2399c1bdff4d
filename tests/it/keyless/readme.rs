//! The README's section on installing, word by word: each command as it is printed, run in the repository, and what it says afterwards.

use std::{
    collections::BTreeMap,
    process::{Command, Output, Stdio},
};

use qovery_irsa_sandbox::qovery::{Kind, TOKEN, World};

use crate::support::{
    keyless::{JOB_ROLE, KEYLESS},
    repository::{read, root},
    shop::Shop,
};

/// The commands of the section, in their order.
fn commands() -> Vec<String> {
    let readme = read("README.md");
    let section = readme.split("## Install in Qovery\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let blocks = section.split("```\n").skip(1).step_by(2);
    blocks.flat_map(str::lines).map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
}

/// The words of a command, as a shell parts them: quotes only around whole words.
fn words(command: &str) -> Vec<String> {
    command.split(' ').map(|word| word.trim_matches('\'').to_owned()).collect()
}

/// In the repository, with nothing of the machine.
fn run(words: &[String], variables: &BTreeMap<String, String>) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_qovery-irsa"));
    command.args(&words[1..]).env_clear().envs(variables).current_dir(root()).stdin(Stdio::null());
    let Output { status, stdout, stderr } = command.output().unwrap();
    let (out, err) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
    assert_eq!(status.code(), Some(0), "{words:?}\n{out}\n{err}");
    out
}

#[test]
fn each_command_of_the_readme_does_what_the_readme_says() {
    let shop = Shop::of_nothing(World::default(), KEYLESS);
    let sandbox = &shop.environment.sandbox;
    // What the sample manifest names.
    sandbox.qovery(|qovery| qovery.add_registry("my-registry"));
    let service = sandbox.qovery(|qovery| qovery.add_service(&shop.id, Kind::Application, "web"));
    let mut variables = sandbox.environment();
    variables.remove("QOVERY_KUBERNETES_CLUSTER_NAME");
    variables.insert("IRSA_SETTLE".to_owned(), "0".to_owned());
    let mut known = BTreeMap::from([("CLUSTER", "demo".to_owned()), ("API_TOKEN", TOKEN.to_owned()), ("ENVIRONMENT_ID", shop.id.clone())]);
    let mut ran = Vec::new();
    for printed in commands() {
        if printed.starts_with("cargo install") || printed.starts_with("docker ") {
            continue;
        }
        let command: Vec<String> = words(&printed).into_iter().map(|word| known.get(word.as_str()).cloned().unwrap_or(word)).collect();
        if command[0] == "export" {
            let (name, value) = command[1].split_once('=').unwrap();
            variables.insert(name.to_owned(), known.get(value).unwrap().clone());
            continue;
        }
        assert_eq!(command[0], "qovery-irsa", "{printed}");
        let (out, performed) = shop.engine().in_background(|| run(&command, &variables));
        assert!(performed.iter().all(|deployment| deployment.well), "{performed:?}");
        if let Some(next) = out.lines().find_map(|line| line.strip_prefix("next: ")) {
            let next = words(next);
            let after = |flag: &str| next.iter().position(|word| word == flag).map(|at| next[at + 1].clone()).unwrap();
            known.extend([("ROLE_ARN", after("--role")), ("BOUNDARY_ARN", after("--boundary"))]);
        }
        ran.push((command[1].clone(), out));
    }
    let names: Vec<&str> = ran.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["bootstrap", "install"]);
    assert_eq!(known["ROLE_ARN"], JOB_ROLE);
    let last = ran[1].1.lines().last().unwrap();
    assert!(last.starts_with("deployed and proven: 1 identity"), "{}", ran[1].1);
    assert!(sandbox.qovery(|qovery| qovery.state_of_service(&service)) == Some("DEPLOYED"));
    let roles = sandbox.aws(|aws| aws.roles().values().filter(|role| role.path.starts_with("/qovery/demo/")).count());
    assert_eq!(roles, 1);
    // "Running it again changes nothing."
    for (name, _) in &ran {
        let command = commands().into_iter().find(|command| command.starts_with(&format!("qovery-irsa {name} "))).unwrap();
        let command: Vec<String> = words(&command)
            .into_iter()
            .filter(|word| word != "--deploy")
            .map(|word| known.get(word.as_str()).cloned().unwrap_or(word))
            .collect();
        let before = sandbox.witness().mark();
        let out = run(&command, &variables);
        assert!(sandbox.witness().since(before).iter().all(|call| !call.changed), "{out}");
    }
}
