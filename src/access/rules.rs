//! The rules of `mcp-access-inbound` (WOS-13).

use crate::config::model::AccessRules;
use crate::domain::{ClientId, Person};

/// Why a person may not use a route. `Display` is what the person is told; it names no entry of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AccessRefusal {
    #[error("it is for members of certain organisations, and you are signed in for none of them")]
    Organization,
    #[error("it is for people with certain roles, and your account has none of them")]
    Role,
    #[error("it is for people with certain permissions, and your account has none of them")]
    Permission,
    #[error("it is for members of certain groups, and your account is in none of them")]
    Group,
    #[error("it asks for a verified e-mail address, and your account has none")]
    EmailUnverified,
    #[error("it is for certain e-mail addresses, and yours is not one of them")]
    Email,
    #[error("it is for e-mail addresses of certain domains, and yours is not of one of them")]
    EmailDomain,
    #[error("it is for certain applications, and this is not one of them")]
    Client,
}

impl AccessRefusal {
    /// For the log and the audit trail.
    #[must_use]
    pub fn reason_code(self) -> &'static str {
        match self {
            Self::Organization => "access_organization",
            Self::Role => "access_role",
            Self::Permission => "access_permission",
            Self::Group => "access_group",
            Self::EmailUnverified => "access_email_unverified",
            Self::Email => "access_email",
            Self::EmailDomain => "access_email_domain",
            Self::Client => "access_client",
        }
    }
}

/// Whether every policy of a route lets `person` use it through `client`.
///
/// # Errors
/// The first rule that does not match.
pub fn check(policies: &[AccessRules], person: &Person, client: &ClientId) -> Result<(), AccessRefusal> {
    policies.iter().try_for_each(|rules| check_one(rules, person, client))
}

fn check_one(rules: &AccessRules, person: &Person, client: &ClientId) -> Result<(), AccessRefusal> {
    let email = person.email.as_deref();
    let address_is = |fits: &dyn Fn(&str) -> bool| email.is_some_and(fits);
    let demands = [
        (has_one(rules.organizations.as_deref(), person.organization_id.as_slice()), AccessRefusal::Organization),
        (has_one(rules.roles.as_deref(), &person.roles), AccessRefusal::Role),
        (has_one(rules.permissions.as_deref(), &person.permissions), AccessRefusal::Permission),
        (has_one(rules.groups.as_deref(), &person.groups), AccessRefusal::Group),
        (!rules.verified_email || (person.email_verified && email.is_some()), AccessRefusal::EmailUnverified),
        (
            rules
                .emails
                .as_deref()
                .is_none_or(|list| address_is(&|email| list.iter().any(|allowed| allowed.eq_ignore_ascii_case(email)))),
            AccessRefusal::Email,
        ),
        (
            rules.email_domains.as_deref().is_none_or(|list| address_is(&|email| is_of(email, list))),
            AccessRefusal::EmailDomain,
        ),
        (
            rules.clients.as_deref().is_none_or(|list| list.iter().any(|allowed| allowed == client.as_str())),
            AccessRefusal::Client,
        ),
    ];
    match demands.into_iter().find(|(met, _)| !met) {
        Some((_, refusal)) => Err(refusal),
        None => Ok(()),
    }
}

/// Whether `list` is not given, or holds one of `held`.
fn has_one(list: Option<&[String]>, held: &[String]) -> bool {
    list.is_none_or(|list| held.iter().any(|value| list.contains(value)))
}

/// Whether an address belongs to one of the domains; what stands behind its last `@` counts.
fn is_of(email: &str, domains: &[String]) -> bool {
    let domain = email.rsplit_once('@').map(|(_, domain)| domain);
    domain.is_some_and(|domain| domains.iter().any(|allowed| allowed.eq_ignore_ascii_case(domain)))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::domain::SubjectId;

    fn ada() -> Person {
        Person {
            id: SubjectId::new("usr_1"),
            provider: "https://idp.example".to_owned(),
            subject: "user_01".to_owned(),
            email: Some("ada@example.com".to_owned()),
            email_verified: true,
            name: None,
            given_name: None,
            family_name: None,
            username: None,
            picture: None,
            organization_id: Some("org_1".to_owned()),
            roles: vec!["member".to_owned(), "editor".to_owned()],
            groups: vec!["staff".to_owned()],
            permissions: vec!["tools:use".to_owned()],
            entitlements: Vec::new(),
            external_id: None,
            impersonator: None,
        }
    }

    fn list(entries: &[&str]) -> Vec<String> {
        entries.iter().map(|&entry| entry.to_owned()).collect()
    }

    type Given = fn(&mut AccessRules, Vec<String>);

    // WOS-13
    #[rstest]
    #[case(|rules: &mut AccessRules, list| rules.organizations = Some(list), &["org_1"], &["org_2"], AccessRefusal::Organization)]
    #[case(|rules: &mut AccessRules, list| rules.roles = Some(list), &["admin", "editor"], &["admin", "Editor"], AccessRefusal::Role)]
    #[case(|rules: &mut AccessRules, list| rules.permissions = Some(list), &["tools:use"], &["tools"], AccessRefusal::Permission)]
    #[case(|rules: &mut AccessRules, list| rules.groups = Some(list), &["staff"], &["staf"], AccessRefusal::Group)]
    #[case(|rules: &mut AccessRules, list| rules.emails = Some(list), &["Ada@Example.com"], &["ad@example.com", "ada@example.com.evil"], AccessRefusal::Email)]
    #[case(|rules: &mut AccessRules, list| rules.email_domains = Some(list), &["example.com"], &["ample.com", "sub.example.com", "com"], AccessRefusal::EmailDomain)]
    #[case(|rules: &mut AccessRules, list| rules.clients = Some(list), &["desk", "dcr_1"], &["dcr_2"], AccessRefusal::Client)]
    fn a_list_lets_in_who_has_one_of_its_entries_and_nobody_else(
        #[case] give: Given,
        #[case] fitting: &[&str],
        #[case] foreign: &[&str],
        #[case] refusal: AccessRefusal,
    ) {
        let client = ClientId::new("dcr_1");
        let rules = |entries| {
            let mut rules = AccessRules::default();
            give(&mut rules, list(entries));
            rules
        };
        assert_eq!(check(&[rules(fitting)], &ada(), &client), Ok(()));
        assert_eq!(check(&[rules(foreign)], &ada(), &client), Err(refusal));
        let nobody = Person {
            email: None,
            organization_id: None,
            roles: Vec::new(),
            groups: Vec::new(),
            permissions: Vec::new(),
            ..ada()
        };
        assert_eq!(check(&[rules(fitting)], &nobody, &ClientId::new("")), Err(refusal));
        assert_eq!(check(&[], &nobody, &client), Ok(()));
        // Every list, and every policy, must match.
        let both = AccessRules { roles: Some(list(&["nobody"])), ..rules(fitting) };
        assert!(check(&[both], &ada(), &client).is_err());
        assert_eq!(check(&[rules(fitting), rules(foreign)], &ada(), &client), Err(refusal));
    }

    // WOS-13
    #[test]
    fn an_address_that_nobody_verified_counts_only_where_that_is_said() {
        let stranger = Person { email_verified: false, ..ada() };
        let client = ClientId::new("dcr_1");
        for verified_email in [true, false] {
            let rules =
                AccessRules { email_domains: Some(list(&["example.com"])), verified_email, ..AccessRules::default() };
            let expected = if verified_email { Err(AccessRefusal::EmailUnverified) } else { Ok(()) };
            assert_eq!(check(&[rules], &stranger, &client), expected);
        }
        let rules = [AccessRules { verified_email: true, ..AccessRules::default() }];
        assert_eq!(check(&rules, &ada(), &client), Ok(()));
        let without = Person { email: None, ..ada() };
        assert_eq!(check(&rules, &without, &client), Err(AccessRefusal::EmailUnverified));
    }

    // WOS-13
    #[test]
    fn what_stands_behind_the_last_at_sign_is_the_domain() {
        let rules = [AccessRules { email_domains: Some(list(&["example.com"])), ..AccessRules::default() }];
        for (email, lets_in) in [
            ("ada@EXAMPLE.com", true),
            ("ada@example.com@evil.example", false),
            ("\"ada@evil.example\"@example.com", true),
            ("example.com", false),
            ("ada@example.com ", false),
        ] {
            let person = Person { email: Some(email.to_owned()), ..ada() };
            assert_eq!(check(&rules, &person, &ClientId::new("c")).is_ok(), lets_in, "{email}");
        }
    }
}
