//! Every way in which a delete event comes, and the deployments of `docs/events.md`, in each Qovery that may be: whatever its public
//! sources leave open; with `LONG=1` in worlds in which every two of those things come together.

use http::Method;
use qovery_irsa_sandbox::{
    faults::{Fault, When},
    qovery::{DeleteEvent, Kind, SettingsRead, TOKEN, World},
};

use crate::support::{
    environment::Run,
    fixtures::{NAMESPACE, an_hour_passes},
    shop::{BOUND, BOUND_SERVICES, Deployed, Shop, UNBOUND, ended_well, in_worlds, nothing_to_do, started, worlds},
};

/// A job that was deployed twice, so that the pods of its services run with their role.
fn running(world: World) -> Shop {
    let shop = Shop::installed_in(world, BOUND);
    ended_well(&shop.deploy());
    ended_well(&shop.deploy());
    assert_eq!(shop.pods_with_role(), 2);
    shop
}

/// The run of the only job.
fn only(deployed: &Deployed) -> &Run {
    let [run] = deployed.runs.as_slice() else { panic!("one run") };
    run
}

fn exists(shop: &Shop) -> bool {
    shop.environment.sandbox.qovery(|qovery| qovery.has_environment(&shop.id))
}

#[test]
fn deployments_and_a_stop_go_as_the_page_says() {
    in_worlds(&worlds(), |world| {
        let shop = Shop::installed_in(world, BOUND);
        let first = shop.deploy();
        ended_well(&first);
        // The services' stages come after the job's: what it set is seen in them, if it is looked at as late as that.
        let expected = if world.settings == SettingsRead::PerStage { BOUND_SERVICES } else { UNBOUND };
        assert_eq!(started(&first), expected);
        for event in ["deploy", "redeploy"] {
            let again = shop.event(&shop.id, event);
            nothing_to_do(&again);
            assert_eq!(started(&again), BOUND_SERVICES, "{event}");
        }
        let stopped = shop.event(&shop.id, "stop");
        nothing_to_do(&stopped);
        assert_eq!((stopped.started.len(), shop.environment.roles(), shop.pods_with_role()), (0, 1, 0));
        let again = shop.deploy();
        nothing_to_do(&again);
        assert_eq!(started(&again), BOUND_SERVICES);
    });
}

#[test]
fn a_clone_or_preview_comes_and_goes_and_the_first_environment_keeps_its_own() {
    in_worlds(&worlds(), |world| {
        let shop = running(world);
        let first = shop.environment.role_name();
        let clone = shop.clone_named("pr-1");
        let deployed = shop.event(&clone, "deploy");
        ended_well(&deployed);
        assert_eq!((started(&deployed), shop.environment.roles()), (BOUND_SERVICES.to_vec(), 2));
        ended_well(&shop.delete(&clone));
        assert_eq!((shop.environment.roles(), shop.environment.role_name()), (1, first));
        nothing_to_do(&shop.deploy());
    });
}

#[test]
fn a_delete_of_the_environment_waits_for_its_pods_and_takes_all() {
    in_worlds(&worlds(), |world| {
        let shop = running(world);
        let deleted = shop.delete(&shop.id);
        ended_well(&deleted);
        let waited = only(&deleted).out.contains("for pods to end");
        assert_eq!(waited, world.delete_event == DeleteEvent::Beside, "{}", only(&deleted).out);
        assert_eq!((shop.environment.roles(), exists(&shop)), (0, false));
    });
}

#[test]
fn a_skipped_service_and_one_that_was_never_deployed_go_with_their_environment_and_hold_up_nothing() {
    in_worlds(&worlds(), |world| {
        let shop = running(world);
        shop.skip("db");
        ended_well(&shop.deploy());
        shop.environment.sandbox.qovery(|qovery| qovery.add_service(&shop.id, Kind::Container, "late"));
        ended_well(&shop.delete(&shop.id));
        assert_eq!((shop.environment.roles(), exists(&shop)), (0, false));

        // The job alone: whoever is skipped stays with the others.
        for skipped in [&["db"][..], &["api", "worker", "db"]] {
            let shop = running(world);
            for name in skipped {
                shop.skip(name);
            }
            let left = shop.delete_job();
            assert_eq!((only(&left).code, only(&left).writes, shop.environment.roles()), (0, 0, 1), "{skipped:?}: {}", only(&left).out);
        }
    });
}

#[test]
fn a_delete_event_that_fails_keeps_the_environment_until_the_next_delete() {
    in_worlds(&worlds(), |world| {
        let shop = running(world);
        let faults = shop.environment.sandbox.faults();
        let rule = faults.add("iam:DeleteRole", When::Always, Fault::error(403, "AccessDenied"));
        let failed = shop.delete(&shop.id);
        assert_eq!((only(&failed).code, exists(&shop)), (1, true), "{}", only(&failed).err);
        let namespace = shop.environment.sandbox.kubernetes(|kubernetes| kubernetes.object("namespaces", "", NAMESPACE).is_some());
        assert!(namespace, "Qovery returns before it deletes the namespace");
        faults.remove(rule);
        ended_well(&shop.delete(&shop.id));
        assert_eq!((shop.environment.roles(), exists(&shop)), (0, false));
    });
}

#[test]
fn a_job_that_is_deleted_or_uninstalled_alone_leaves_the_services_their_roles_and_says_how_to_remove_them() {
    type Leave = fn(&Shop) -> Deployed;
    let ways: [(Leave, bool); 2] = [(Shop::delete_job, false), (Shop::uninstall_job, true)];
    in_worlds(&worlds(), |world| {
        for (leave, stays) in ways {
            let shop = running(world);
            let left = leave(&shop);
            let run = only(&left);
            assert_eq!((run.code, run.writes, shop.environment.roles()), (0, 0, 1), "{}{}", run.out, run.err);
            assert!(run.out.contains("IRSA_ON_DELETE=remove"), "{}", run.out);
            assert_eq!(shop.pods_with_role(), 2);
            let there = shop.environment.sandbox.qovery(|qovery| qovery.service_named(&shop.id, "aws-identity"));
            assert_eq!(there.is_some(), stays);
        }
    });
}

/// The job is gone when the remedy is read: whoever follows it is another job, or none.
#[test]
fn what_a_job_that_was_deleted_alone_left_is_removed_as_it_said() {
    in_worlds(&worlds(), |world| {
        for way in ["a new job that asks", "a new job that cannot ask", "a person"] {
            let shop = running(world);
            ended_well(&shop.delete_job());
            let remove = [("IRSA_ON_DELETE".to_owned(), "remove".to_owned())];
            let run = if way == "a person" {
                let mut variables = shop.environment.variables.clone();
                variables.retain(|name, _| !name.starts_with("QOVERY_JOB") && name != "IRSA_QOVERY_TOKEN");
                variables.extend(remove);
                shop.environment.run_with(&["delete"], &variables)
            } else {
                shop.environment.run(&["install"]).ended(0);
                shop.set_of_job(&shop.id, "IRSA_ON_DELETE", "remove");
                if way == "a new job that cannot ask" {
                    shop.set_of_job(&shop.id, "IRSA_QOVERY_TOKEN", "");
                }
                shop.force("DELETE").runs.remove(0)
            };
            assert_eq!(run.code, 0, "{way}: {}{}", run.out, run.err);
            let last = run.out.lines().last().unwrap();
            if way == "a new job that cannot ask" {
                assert_eq!((run.writes, shop.environment.roles()), (0, 1), "{}", run.out);
                assert!(run.out.contains("left: role `app-") && run.out.contains("it has the mark of job `"), "{}", run.out);
                assert!(last.starts_with("nothing removed; 2 things left: see above"), "{last}");
            } else {
                assert_eq!((shop.environment.roles(), shop.environment.service_account()), (0, None), "{way}: {}", run.out);
                assert!(last.starts_with("3 actions"), "{last}");
            }
        }
    });
}

/// What the job before had made and the next one does not name is not kept for ever.
#[test]
fn a_job_under_a_new_id_takes_over_what_the_one_before_it_made_and_it_does_not_name() {
    let shop = Shop::installed(
        &BOUND.replace("job:", "  - serviceAccount: old\n    role: {policies: [arn:aws:iam::aws:policy/AdministratorAccess]}\njob:"),
    );
    ended_well(&shop.deploy());
    ended_well(&shop.delete_job());
    shop.environment.write_manifest(BOUND);
    shop.environment.run(&["install"]).ended(0);
    let last = |shop: &Shop| shop.deploy().runs.remove(0).ended(0).out;
    shop.set_of_job(&shop.id, "IRSA_QOVERY_TOKEN", "qov_nobody_knows_this_one");
    let unknown = last(&shop);
    assert!(unknown.contains("ServiceAccount `") && unknown.contains("kept, since it is not known whether that job exists"), "{unknown}");
    shop.set_of_job(&shop.id, "IRSA_QOVERY_TOKEN", TOKEN);
    let dated = last(&shop);
    assert!(dated.contains("the job that made it no longer exists; a deploy after "), "{dated}");
    assert_eq!(shop.environment.roles(), 2);
    nothing_to_do(&shop.deploy());
    an_hour_passes(&shop.environment);
    last(&shop);
    assert_eq!(shop.environment.roles(), 1);
    nothing_to_do(&shop.deploy());
}

/// The environment is deleted by a job under a new id: what the job before it has made goes too, where Qovery can be asked.
#[test]
fn a_job_under_a_new_id_takes_what_the_one_before_it_made() {
    in_worlds(&worlds(), |world| {
        let shop = running(world);
        ended_well(&shop.delete_job());
        shop.environment.run(&["install"]).ended(0);
        ended_well(&shop.delete(&shop.id));
        assert_eq!((shop.environment.roles(), exists(&shop)), (0, false));

        let shop = running(world);
        ended_well(&shop.delete_job());
        shop.environment.run(&["install"]).ended(0);
        shop.set_of_job(&shop.id, "IRSA_QOVERY_TOKEN", "");
        let deleted = shop.delete(&shop.id);
        ended_well(&deleted);
        assert!(only(&deleted).out.contains("left: role `app-"), "{}", only(&deleted).out);
        assert_eq!((shop.environment.roles(), exists(&shop)), (1, false));
    });
}

#[test]
fn a_plan_of_the_delete_is_what_the_deletion_of_the_environment_does_and_says_what_the_command_alone_does() {
    in_worlds(&worlds(), |world| {
        let shop = running(world);
        let plan = |more: &[(&str, &str)]| {
            let mut variables = shop.environment.variables.clone();
            variables.insert("QOVERY_JOB_ID".to_owned(), shop.service(&shop.id, "aws-identity"));
            variables.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
            shop.environment.run_with(&["plan", "delete"], &variables)
        };
        let used = plan(&[("IRSA_ON_DELETE", "keep-if-used")]).ended(0);
        assert!(used.planned().is_empty() && used.out.contains("stays: pod `"), "{}", used.out);
        // What a job has made that no longer exists goes too.
        ended_well(&shop.delete_job());
        shop.environment.run(&["install"]).ended(0);
        let planned = plan(&[]).ended(10);
        assert!(
            planned.out.contains("note: this is what the deletion of the environment removes. `delete` alone removes nothing now"),
            "{}",
            planned.out
        );
        let deleted = shop.delete(&shop.id);
        ended_well(&deleted);
        assert_eq!((planned.planned(), shop.environment.roles()), (only(&deleted).done(), 0));
    });
}

#[test]
fn a_job_that_is_deleted_alone_removes_if_it_cannot_ask_or_is_told_to() {
    in_worlds(&worlds(), |world| {
        for (name, value) in [("IRSA_QOVERY_TOKEN", ""), ("IRSA_ON_DELETE", "remove")] {
            let shop = running(world);
            shop.set_of_job(&shop.id, name, value);
            let deleted = shop.delete_job();
            ended_well(&deleted);
            assert_eq!((shop.environment.roles(), exists(&shop)), (0, true), "{name}: {}", only(&deleted).out);
        }
    });
}

#[test]
fn a_token_that_gets_no_answer_keeps_the_roles_of_pods_that_run() {
    in_worlds(&worlds(), |world| {
        let shop = running(world);
        shop.environment.sandbox.qovery(|qovery| qovery.add_policy_token("qov_policy_of_the_job", &[(Method::GET, "/environment/")]));
        for token in ["qov_nobody_knows_this_one", "qov_policy_of_the_job"] {
            shop.set_of_job(&shop.id, "IRSA_QOVERY_TOKEN", token);
            shop.set_of_job(&shop.id, "IRSA_TIMEOUT", "10s");
            let run = shop.uninstall_job();
            let run = only(&run);
            assert_eq!((run.code, shop.environment.roles()), (0, 1), "{token}: {}{}", run.out, run.err);
            assert!(run.out.contains("Unauthorized") && !run.out.contains(token), "{}", run.out);
            assert!(run.out.lines().last().unwrap().starts_with("nothing removed; 2 things kept: see above"), "{}", run.out);
        }
        // The environment goes all the same. Where its pods run until after the event, the role is left for `sweep`.
        ended_well(&shop.delete(&shop.id));
        assert_eq!(shop.environment.roles(), usize::from(world.delete_event == DeleteEvent::Before));
    });
}

#[test]
fn services_and_job_that_are_deleted_in_one_request_take_the_role_only_if_no_other_service_stays() {
    in_worlds(&worlds(), |world| {
        let shop = running(world);
        let some = shop.delete_services(&["api", "aws-identity"]);
        let run = only(&some);
        assert_eq!((run.code, shop.environment.roles()), (0, 1), "`worker` stays: {}{}", run.out, run.err);
        assert_eq!(shop.pods_with_role(), 1);

        let shop = running(world);
        let all = shop.delete_services(&["api", "worker", "db", "aws-identity"]);
        let run = only(&all);
        assert_eq!((run.code, shop.environment.roles()), (0, 0), "{}{}", run.out, run.err);
        assert_eq!(run.out.contains("for pods to end"), world.delete_event == DeleteEvent::Beside, "{}", run.out);
        assert_eq!((exists(&shop), shop.pods_with_role()), (true, 0));
    });
}

#[test]
fn a_forced_event_does_what_it_is_and_touches_no_service() {
    in_worlds(&worlds(), |world| {
        let shop = running(world);
        for event in ["START", "STOP"] {
            nothing_to_do(&shop.force(event));
        }
        let kept = shop.force("DELETE");
        assert_eq!((only(&kept).code, only(&kept).writes, shop.environment.roles()), (0, 0, 1), "{}", only(&kept).out);
        shop.set_of_job(&shop.id, "IRSA_ON_DELETE", "remove");
        ended_well(&shop.force("DELETE"));
        assert_eq!((shop.environment.roles(), shop.account_of("api").as_str()), (0, "app"), "services are not unbound");
        ended_well(&shop.force("START"));
        assert_eq!(shop.environment.roles(), 1);
    });
}

#[test]
fn an_uninstall_of_the_environment_takes_all_and_a_deploy_makes_it_again() {
    in_worlds(&worlds(), |world| {
        let shop = running(world);
        ended_well(&shop.event(&shop.id, "uninstall"));
        assert_eq!((shop.environment.roles(), exists(&shop)), (0, true));
        let again = shop.deploy();
        ended_well(&again);
        assert_eq!((shop.environment.roles(), started(&again)), (1, BOUND_SERVICES.to_vec()));
        assert_eq!(shop.pods_with_role(), 2);
    });
}

#[test]
fn a_token_that_is_no_longer_valid_costs_a_start_a_note() {
    in_worlds(&worlds(), |world| {
        let shop = running(world);
        shop.set_of_job(&shop.id, "IRSA_QOVERY_TOKEN", "qov_nobody_knows_this_one");
        let deployed = shop.deploy();
        nothing_to_do(&deployed);
        assert!(only(&deployed).out.contains("note: the services are not bound"), "{}", only(&deployed).out);
        assert_eq!(started(&deployed), BOUND_SERVICES);
    });
}

#[test]
fn a_job_that_is_skipped_does_not_run_and_its_services_go_on_with_what_they_have() {
    in_worlds(&worlds(), |world| {
        let shop = running(world);
        shop.skip("aws-identity");
        let deployed = shop.deploy();
        assert!(deployed.runs.is_empty());
        assert_eq!((started(&deployed), shop.pods_with_role()), (BOUND_SERVICES.to_vec(), 2));
    });
}
