use super::*;

#[test]
fn the_address_and_the_port_stand_where_they_stood_in_every_generation() {
    let of_v2 = [10, 0, 2, 34, 0x1f, 0x90, 6, 0];
    let of_v3 = [10, 0, 2, 34, 0x1f, 0x90, 6, 0, 0, 0, 0, 0];
    let expected = Backend { addr: Addr::from_v4([10, 0, 2, 34]), port: 8080 };
    assert_eq!((parse(&of_v2, true), parse(&of_v3, true)), (Ok(expected), Ok(expected)));
    let mut of_v6 = [0; 20];
    (of_v6[0], of_v6[15], of_v6[17]) = (0xfd, 0x22, 80);
    let addr = Addr::from_v6(*of_v6.first_chunk().expect("long enough"));
    assert_eq!(parse(&of_v6, false), Ok(Backend { addr, port: 80 }));
    assert_eq!((parse(&of_v2[..5], true), parse(&of_v3, false)), (Err(Malformed), Err(Malformed)));
}

#[test]
fn an_id_is_written_as_wide_as_the_map_has_it() {
    let mut buffer = [0; 4];
    assert_eq!(key(7, 2, &mut buffer), Ok(&7u16.to_ne_bytes()[..]));
    assert_eq!(key(70_000, 4, &mut buffer), Ok(&70_000u32.to_ne_bytes()[..]));
    assert_eq!((key(70_000, 2, &mut [0; 4]), key(7, 8, &mut [0; 4])), (Err(Malformed), Err(Malformed)));
}
