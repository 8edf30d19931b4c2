"""Papers' numbers as they are stored."""

from equimodal.report.published import printed, sources


def test_every_source_says_where_it_is_from_and_how_it_measured():
    assert all(source.cite and source.protocol for source in sources().values())
    assert {"cremad", "ks", "ucf101", "mosi"} == set(sources()["aim"].datasets)


def test_looked_up_by_the_names_of_params_yaml():
    assert [(found.source, found.numbers.accuracy) for found in printed("cremad", "aug")] == [("aug", 85.15)]
    assert printed("mosi", "aim")[0].numbers.macro_f1 == 79.37
    assert printed("grid-words", "aim") == []
