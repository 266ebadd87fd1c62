from pipeline.progress.log_file import end_of, last_lines


def test_the_end_of_a_log(tmp_path):
    log = tmp_path / "a.log"
    log.write_text("INFO loading\nerror: \x1b[31mno memory; buy some\n\nbye\n")
    assert end_of(log) == "error: ?[31mno memory; buy some"
    log.write_text("INFO loading\nkilled\n")
    assert end_of(log) == "killed"
    assert end_of(tmp_path / "none") == end_of(None) == "it says nothing"
    log.write_text("".join(f"{number}\n" for number in range(50)))
    assert last_lines(log).split() == [str(number) for number in range(30, 50)]
