from stellarfm.inference.masses.flags import MassFlag, decode_flags, flag_table


def test_bits_are_distinct_powers_of_two():
    assert [flag.value for flag in MassFlag] == [2**bit for bit in range(len(MassFlag))]


def test_decoder_inverts_the_constants():
    assert decode_flags(0) == []
    for flag in MassFlag:
        assert decode_flags(flag.value) == [flag.name]
    assert len(decode_flags(sum(MassFlag))) == len(MassFlag)


def test_documentation_names_every_flag():
    table = flag_table()
    for flag in MassFlag:
        assert flag.name in table
        assert flag.description in table
        assert flag.description.endswith(".")
