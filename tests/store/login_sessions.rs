//! Logins at the identity provider (IDP-12, IDP-13).

use std::time::Duration;

use doorward::crypto::SecretHash;
use doorward::domain::browser::BrowserLogin;
use doorward::domain::{BrowserId, Grant, GrantId, LoginSession, LoginSessionId, Person, UnixTime};
use doorward::store::{NewLoginSession, Store};
use futures_util::future::join_all;
use rstest::rstest;

use crate::world::{Kind, NOW, World, approved_as, grant, hash, person};

const LATER: UnixTime = UnixTime(NOW.0 + 400);

async fn begin(store: &Store, id: &str, provider_session: Option<&str>) -> LoginSession {
    let id = LoginSessionId::new(id);
    let new = NewLoginSession { id: &id, person: &person(1), provider_session };
    store.begin_login_session(&new, NOW).await.unwrap()
}

fn of_session(name: &str, session: &LoginSession) -> Grant {
    Grant { login_session: Some(session.id.clone()), ..grant(name, UnixTime(NOW.0 + 60)) }
}

async fn signed_in_browser(store: &Store, session: &LoginSession) -> SecretHash {
    let browser = BrowserId::new("br_1");
    store.adopt_browser(&browser, &hash("before"), UnixTime(NOW.0 + 9_000), NOW).await.unwrap();
    let login = BrowserLogin {
        subject: person(1).id,
        authenticated_at: NOW,
        provider_session: Some("sid".to_owned()),
        login_session: Some(session.id.clone()),
    };
    store.sign_in(&browser, &hash("cookie"), &login, UnixTime(NOW.0 + 9_000)).await.unwrap();
    hash("cookie")
}

// IDP-12: one record per login session of the provider.
#[rstest]
#[tokio::test]
async fn a_second_login_of_the_same_provider_session_shares_its_record(
    #[values(Kind::Sqlite, Kind::Postgres)] kind: Kind,
) {
    let world = World::open(kind).await;
    let store = &world.store;
    let first = begin(store, "ls_1", Some("sid")).await;
    let again = begin(store, "ls_2", Some("sid")).await;
    assert_eq!((&again.id, again.version), (&first.id, first.version + 1));
    assert_ne!(begin(store, "ls_3", Some("other")).await.id, first.id);
    assert_ne!(begin(store, "ls_4", None).await.id, begin(store, "ls_5", None).await.id);
}

// IDP-15, WOS-13
#[rstest]
#[tokio::test]
async fn each_login_has_its_own_word_on_the_person(#[values(Kind::Sqlite, Kind::Postgres)] kind: Kind) {
    let world = World::open(kind).await;
    let store = &world.store;
    let told = |organization: &str| Person { organization_id: Some(organization.to_owned()), ..person(1) };
    let (home, away) = (begin(store, "ls_1", Some("home")).await, begin(store, "ls_2", Some("away")).await);
    for (session, organization) in [(&home, "org_home"), (&away, "org_away")] {
        store.describe_login_session(&session.id, &told(organization)).await.unwrap();
        store.save_person(&told(organization), NOW).await.unwrap();
    }
    approved_as(store, &of_session("g", &home)).await;
    let subject = &person(1).id;
    let of = async |login| store.person_of_login(subject, login).await.unwrap().unwrap().organization_id.unwrap();
    assert_eq!(of(Some(&home.id)).await, "org_home");
    assert_eq!(of(Some(&away.id)).await, "org_away");
    assert_eq!(of(None).await, "org_away", "what was said last");
    assert_eq!(of(Some(&LoginSessionId::new("ls_other"))).await, "org_away");
    let granted = store.person_of_grant(subject, &GrantId::new("g")).await.unwrap().unwrap();
    assert_eq!(granted.organization_id.as_deref(), Some("org_home"));
    let strangers = store.person_of_grant(subject, &GrantId::new("other")).await.unwrap().unwrap();
    assert_eq!(strangers.organization_id.as_deref(), Some("org_away"));
    assert!(store.person_of_login(&person(2).id, Some(&home.id)).await.unwrap().is_none());
}

// IDP-12, STORE-5
#[rstest]
#[tokio::test]
async fn of_fifty_claims_exactly_one_wins(#[values(Kind::Sqlite, Kind::Postgres)] kind: Kind) {
    let world = World::open(kind).await;
    let store = &world.store;
    let session = begin(store, "ls_1", None).await;
    let claimed = session.claimed(LATER);
    let claims = join_all((0..50).map(|_| store.change_login_session(session.version, &claimed))).await;
    assert_eq!(claims.into_iter().filter(|won| *won.as_ref().unwrap()).count(), 1);
    assert_eq!(store.login_session(&session.id).await.unwrap(), Some(claimed));
}

// IDP-13
#[rstest]
#[tokio::test]
async fn the_end_of_a_login_takes_its_grants_and_browsers_once(#[values(Kind::Sqlite, Kind::Postgres)] kind: Kind) {
    let world = World::open(kind).await;
    let store = &world.store;
    let session = begin(store, "ls_1", Some("sid")).await;
    let cookie = signed_in_browser(store, &session).await;
    approved_as(store, &of_session("a", &session)).await;
    approved_as(store, &of_session("b", &session)).await;
    approved_as(store, &grant("other", UnixTime(NOW.0 + 60))).await;

    assert_eq!(
        store.end_login_session(&session.id, session.version + 1, LATER).await.unwrap(),
        None,
        "of another time"
    );
    let ended = join_all((0..10).map(|_| store.end_login_session(&session.id, session.version, LATER))).await;
    let mut ended: Vec<_> = ended.into_iter().filter_map(Result::unwrap).collect();
    assert_eq!(ended.len(), 1, "one caller ends it");
    let mut grants: Vec<_> = ended.remove(0).into_iter().map(|grant| grant.id).collect();
    grants.sort();
    assert_eq!(grants, [GrantId::new("a"), GrantId::new("b")]);
    assert_eq!(store.grant(&GrantId::new("other")).await.unwrap().unwrap().revoked_at, None);
    let browser = store.browser(&cookie, NOW).await.unwrap().expect("the browser is still known");
    assert_eq!(browser.login(NOW), None);
    let record = store.login_session(&session.id).await.unwrap().unwrap();
    assert_eq!((record.ended_at, &record.sealed_token), (Some(LATER), &None));
    assert!(!store.change_login_session(record.version, &record.claimed(LATER)).await.unwrap(), "ended is ended");
    assert_eq!(begin(store, "ls_2", Some("sid")).await.ended_at, None, "until somebody signs in again");
}

// STORE-9
#[rstest]
#[tokio::test]
async fn a_login_is_kept_while_a_grant_or_a_browser_hangs_on_it(#[values(Kind::Sqlite, Kind::Postgres)] kind: Kind) {
    let world = World::open(kind).await;
    let store = &world.store;
    let (lonely, held) = (begin(store, "ls_1", None).await, begin(store, "ls_2", None).await);
    signed_in_browser(store, &held).await;
    let days = |days: i64| UnixTime(NOW.0 + days * 86_400);
    store.purge(UnixTime(NOW.0 + 8_000), Duration::from_secs(86_400), 100).await.unwrap();
    assert!(store.login_session(&lonely.id).await.unwrap().is_some(), "a login of today may still be approved");
    store.purge(days(2), Duration::from_secs(86_400), 100).await.unwrap();
    assert_eq!(store.login_session(&lonely.id).await.unwrap(), None);
    store.purge(days(3), Duration::from_secs(86_400), 100).await.unwrap();
    assert_eq!(store.login_session(&held.id).await.unwrap(), None, "its browser is gone");
}
