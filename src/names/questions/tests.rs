use super::*;

fn key(id: u16, client_port: u16) -> Key {
    let (client, server) = (Addr::from_v4([10, 0, 0, 1]), Addr::from_v4([10, 0, 0, 53]));
    Key { client, server, client_port, server_port: 53, id, protocol: 17, name: 7 }
}

#[test]
fn an_answer_belongs_to_a_question_of_the_last_ten_seconds() {
    let mut questions = Questions::new();
    questions.ask(&key(1, 40_000), 0);
    for other in [
        key(2, 40_000),
        key(1, 40_001),
        Key { server: Addr::from_v4([10, 0, 0, 54]), ..key(1, 40_000) },
        Key { name: 8, ..key(1, 40_000) },
    ] {
        assert_eq!(questions.find(&other, 1), Asked::No);
    }
    let Asked::Open(slot) = questions.find(&key(1, 40_000), PATIENCE_NS) else { panic!("it is open") };
    assert_eq!(questions.find(&key(1, 40_000), PATIENCE_NS + 1), Asked::No);
    questions.answered(slot);
    assert_eq!(questions.find(&key(1, 40_000), 1), Asked::Answered);
    questions.ask(&key(1, 40_000), SECOND);
    assert!(matches!(questions.find(&key(1, 40_000), SECOND), Asked::Open(_)), "asked anew");
}

#[test]
fn the_oldest_questions_make_room() {
    let mut questions = Questions::new();
    for n in 0..=CAPACITY as u16 {
        questions.ask(&key(n, 1), u64::from(n));
    }
    assert_eq!(questions.find(&key(0, 1), 5_000), Asked::No);
    assert!(matches!(questions.find(&key(1, 1), 5_000), Asked::Open(_)));
}
