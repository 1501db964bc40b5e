//! Who is an operator (`gateway.operators`): may connect the servers behind for everyone (gateway.md §8).

use crate::config::model::Operators;
use crate::domain::Person;

/// Whether the configuration names `person`: by a verified e-mail address, a role or the organisation.
#[must_use]
pub fn is_operator(operators: &Operators, person: &Person) -> bool {
    let email = person.email.as_deref().filter(|_| person.email_verified);
    let by_email = email.is_some_and(|email| operators.emails.iter().any(|named| named.eq_ignore_ascii_case(email)));
    let by_role = operators.roles.iter().any(|role| person.roles.contains(role));
    let by_organization =
        person.organization_id.as_ref().is_some_and(|organization| operators.organizations.contains(organization));
    by_email || by_role || by_organization
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_is_named_by_a_verified_address_a_role_or_an_organisation() {
        let person = |changes: &str| -> Person {
            let text = format!(r#"{{"id": "usr_1", "provider": "https://idp.example", "subject": "user_1"{changes}}}"#);
            serde_json::from_str(&text).unwrap()
        };
        let operators = Operators {
            emails: vec!["Ada@example.com".to_owned()],
            roles: vec!["admin".to_owned()],
            organizations: vec!["org_1".to_owned()],
        };
        for (changes, is_one) in [
            ("", false),
            (r#", "email": "ada@example.com", "email_verified": true"#, true),
            (r#", "email": "ada@example.com""#, false),
            (r#", "email": "eve@example.com", "email_verified": true"#, false),
            (r#", "roles": ["member", "admin"]"#, true),
            (r#", "roles": ["Admin"], "groups": ["admin"], "permissions": ["admin"]"#, false),
            (r#", "organization_id": "org_1""#, true),
            (r#", "organization_id": "org_2""#, false),
        ] {
            assert_eq!(is_operator(&operators, &person(changes)), is_one, "{changes}");
            let nobody = Operators { emails: Vec::new(), roles: Vec::new(), organizations: Vec::new() };
            assert!(!is_operator(&nobody, &person(changes)), "{changes}");
        }
    }
}
