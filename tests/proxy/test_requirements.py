"""Every rule of docs/http.md has its tests: the table is whole, and what it names exists.

Here:  rule number to tests, by file and name: a function, or a row of a table by what it says.
Never: the tests.
"""

import re
from collections.abc import Iterator

import pytest

from tests.docs.pages import page, rows, section
from tests.proxy import test_faults, test_framing, test_passing
from tests.test_traps import names_in

LAST = 62
LEAST_CASES = 300

SHOWN: dict[int, tuple[str, ...]] = {
    1: (
        "proxy/test_framing.py::1 (RFC 9112 6.3): Content-Length before chunked",
        "proxy/test_framing.py::1 (RFC 9112 6.3): chunked before Content-Length",
        "proxy/test_framing.py::1 (RFC 9112 6.3): an unknown coding with a Content-Length",
    ),
    2: (
        "proxy/test_framing.py::2 (RFC 9112 6.3): two lengths that differ",
        "proxy/test_framing.py::2 (RFC 9112 6.3): two lengths that are equal",
        "proxy/test_framing.py::2 (RFC 9112 6.3): digits outside ASCII",
        "proxy/test_framing.py::2 (RFC 9112 6.3): a length with leading zeros",
    ),
    3: (
        "proxy/test_framing.py::3 (RFC 9110 8.6): forty digits",
        "proxy/test_framing.py::test_a_request_that_can_be_read_in_two_ways_is_refused",
        "proxy/test_faults.py::test_a_response_that_cannot_be_used_is_a_502_that_scripts_can_read",
    ),
    4: (
        "proxy/test_framing.py::4 (RFC 9112 6.1): chunked is not last",
        "proxy/test_framing.py::4 (RFC 9112 6.1): chunked on two lines",
        "proxy/test_framing.py::4 (RFC 9112 6.1): codings are compared without case",
        "proxy/test_faults.py::4 (RFC 9112 6.1): a coding this proxy does not undo",
        "proxy/test_response.py::test_4_chunked_on_two_lines_is_unusable",
    ),
    5: ("proxy/test_framing.py::5 (RFC 9112 6.1): chunked in HTTP/1.0, kept alive",),
    6: (
        "proxy/test_framing.py::6 (RFC 9112 5.1): a space before the colon of a length",
        "proxy/test_faults.py::test_6_white_space_before_a_colon_does_not_go_on",
    ),
    7: (
        "proxy/test_framing.py::7 (RFC 9112 5.2): a folded coding",
        "proxy/test_framing.py::15 (RFC 9112 7.1.2): a folded trailer",
        "proxy/test_faults.py::7 (RFC 9112 5.2): a folded value",
    ),
    8: (
        "proxy/test_framing.py::8 (RFC 9112 2.2): a bare CR ends a line",
        "proxy/test_framing.py::8 (RFC 9112 2.2): a size line ended by a bare CR",
        "proxy/test_faults.py::8 (RFC 9112 2.2): a bare CR in a value",
    ),
    9: (
        "proxy/test_framing.py::9 (RFC 9112 2.2): a whole head with bare LF",
        "proxy/test_framing.py::9 (RFC 9112 2.2): the last line ended by LF",
        "proxy/test_faults.py::9 (RFC 9112 2.2): a head of bare LF",
    ),
    10: (
        "proxy/test_framing.py::10 (RFC 9110 5.5): NUL in a value",
        "proxy/test_framing.py::test_a_request_that_can_be_read_in_two_ways_is_refused",
        "proxy/test_faults.py::test_a_response_that_cannot_be_used_is_a_502_that_scripts_can_read",
        "proxy/test_response.py::test_10_a_control_byte_in_the_reason_is_unusable",
    ),
    11: (
        "proxy/test_framing.py::11 (RFC 9110 5.1): a line without colon",
        "proxy/test_framing.py::test_a_request_that_can_be_read_in_two_ways_is_refused",
        "proxy/test_faults.py::11 (RFC 9110 5.1): a line without colon",
        "proxy/test_passing.py::35 (RFC 9110 5.1): a name with an underscore is another name",
    ),
    12: (
        "proxy/test_framing.py::12 (RFC 9112 2.2): white space before a hidden Host",
        "proxy/test_faults.py::12 (RFC 9112 2.2): white space before the first field",
    ),
    13: (
        "proxy/test_framing.py::test_a_bad_chunk_ends_the_connection_and_the_upstream_never_sees_a_whole_request",
        "proxy/test_framing.py::13 (RFC 9112 7.1): data longer than its size",
        "proxy/test_faults.py::a chunk size that overflows",
    ),
    14: (
        "proxy/test_framing.py::14 (RFC 9112 7.1.1): a bare LF in an extension",
        "proxy/test_framing.py::14 (RFC 9112 7.1.1): a quoted extension",
        "proxy/test_framing.py::test_14_an_extension_of_a_mebibyte_is_refused",
    ),
    15: (
        "proxy/test_framing.py::test_15_a_trailer_becomes_no_field_of_this_request_nor_of_the_next",
        "proxy/test_response.py::test_trailers",
        "proxy/test_cors_on_the_wire.py::test_49_trailers_add_nothing_to_the_policy",
    ),
    16: (
        "proxy/test_forwarding.py::test_trailers_go_on_when_wanted_without_cors_fields",
        "proxy/test_framing.py::16 (RFC 9110 6.5): trailers",
    ),
    17: (
        "proxy/test_framing.py::test_17_the_body_of_a_preflight_is_not_the_next_request",
        "proxy/test_forwarding.py::test_an_early_answer_reaches_the_client_and_ends_the_connection",
    ),
    18: (
        "proxy/test_framing.py::test_18_nothing_is_served_after_the_client_said_close",
        "proxy/test_framing.py::test_18_nothing_is_served_after_a_bad_request",
        "proxy/test_framing.py::test_18_http10_ends_after_one_request_unless_asked_otherwise",
    ),
    19: (
        "proxy/test_framing.py::test_19_pipelined_answers_keep_their_order_when_the_first_is_slow",
        "proxy/test_framing.py::test_19_five_hundred_pipelined_preflights",
        "proxy/test_forwarding.py::test_a_good_request_before_a_bad_one_is_served",
    ),
    20: (
        "proxy/test_framing.py::20 (RFC 9112 3.2): no Host",
        "proxy/test_framing.py::20 (RFC 9112 3.2): the same Host twice",
        "proxy/test_framing.py::test_a_request_that_can_be_read_in_two_ways_is_refused",
        "proxy/test_framing.py::20 (RFC 9112 3.2): HTTP/1.0 needs no Host",
    ),
    21: (
        "proxy/test_framing.py::21 (RFC 9112 3.2.2): absolute-form",
        "proxy/test_framing.py::21 (RFC 9112 3.2.2): absolute-form with userinfo",
        "proxy/test_forwarding.py::test_absolute_form_routes_by_its_own_host",
        "proxy/test_traps.py::test_40_no_request_names_its_own_upstream",
    ),
    22: (
        "proxy/test_framing.py::22 (RFC 9112 3.2.3): authority-form with GET",
        "proxy/test_framing.py::22 (RFC 9112 3.2.4): asterisk-form with GET",
        "proxy/test_framing.py::22 (RFC 9112 3.2.4): asterisk-form with OPTIONS",
    ),
    23: (
        "proxy/test_framing.py::23 (RFC 9110 9.3.6): CONNECT",
        "proxy/test_framing.py::23 (RFC 9110 9.3.6): CONNECT by address",
    ),
    24: (
        "proxy/test_framing.py::test_a_request_that_can_be_read_in_two_ways_is_refused",
        "proxy/test_framing.py::24 (RFC 9110 2.5): HTTP/0.9 by name",
        "proxy/test_framing.py::24 (RFC 9112 3): bytes of a TLS client hello",
    ),
    25: (
        "proxy/test_passing.py::test_25_a_target_crosses_byte_for_byte",
        "proxy/test_forwarding.py::test_the_target_is_forwarded_byte_for_byte",
    ),
    26: (
        "proxy/test_forwarding.py::test_fields_of_the_hop_end_here_in_both_directions",
        "proxy/test_request.py::also over several lines",
    ),
    27: (
        "proxy/test_request.py::CVE-2024-45410: Connection takes away neither origin nor framing",
        "proxy/test_cors_on_the_wire.py::test_26_a_client_cannot_take_our_fields_away",
    ),
    28: (
        "proxy/test_request.py::TE ends here",
        "proxy/test_forwarding.py::test_trailers_go_on_when_wanted_without_cors_fields",
    ),
    29: (
        "proxy/test_tunnel.py::test_what_is_no_switch_is_an_ordinary_request",
        "proxy/test_request.py::h2c is not asked of the upstream",
        "proxy/test_traps.py::test_50_http2_with_prior_knowledge_does_not_pass",
    ),
    30: ("proxy/test_passing.py::test_30_each_side_hears_the_proxys_own_version",),
    31: (
        "proxy/test_forwarded.py::test_who_asked",
        "proxy/test_forwarding.py::test_the_upstream_is_told_who_asked_and_a_client_cannot_forge_it",
    ),
    32: (
        "proxy/test_passing.py::32 (RFC 9110 7.6.3): Via is handed on, and none of ours is added",
        "proxy/test_passing.py::32 (RFC 9110 7.6.3): Via of a response",
    ),
    33: (
        "proxy/test_passing.py::test_33_lines_of_one_name_keep_their_order_and_case",
        "proxy/test_forwarding.py::test_repeated_response_fields_stay_apart_and_in_order",
        "proxy/test_framing.py::test_a_request_that_can_be_read_in_two_ways_is_refused",
    ),
    34: (
        "proxy/test_passing.py::34 (RFC 9110 5.5): every byte above ASCII",
        "proxy/test_passing.py::34 (RFC 9110 5.5): every byte above ASCII, back",
    ),
    35: (
        "proxy/test_passing.py::test_a_line_of_a_request_crosses_as_it_is",
        "proxy/test_passing.py::test_a_line_of_a_response_crosses_as_it_is",
        "proxy/test_forwarding.py::test_nothing_is_invented_for_either_side",
        "proxy/test_forwarding.py::test_a_response_without_date_gets_one_and_another_keeps_its_own",
    ),
    36: (
        "proxy/test_passing.py::36 (RFC 9110 11.6.2): Authorization",
        "proxy/test_passing.py::36 (RFC 9110 11.6.1): WWW-Authenticate",
    ),
    37: (
        "proxy/test_limits.py::test_37_an_endless_line_is_answered_at_the_limit",
        "proxy/test_limits.py::test_request_head",
        "proxy/test_faults.py::test_37_an_endless_head_is_given_up",
    ),
    38: (
        "proxy/test_limits.py::test_38_the_sizes_that_every_server_should_take_are_taken",
        "proxy/test_passing.py::38 (RFC 9110 5.4): a field of 7 KiB",
    ),
    39: (
        "proxy/test_passing.py::test_an_expectation_is_answered_and_never_hangs",
        "proxy/test_forwarding.py::test_interim_responses_go_on_to_the_client",
        "proxy/test_request.py::test_39_an_http10_client_is_sent_no_100",
    ),
    40: (
        "proxy/test_faults.py::test_40_a_body_where_none_may_be_is_not_the_next_response",
        "proxy/test_forwarding.py::test_head_keeps_the_length_and_the_connections",
        "proxy/test_forwarding.py::test_a_status_without_body_ends_with_its_head",
    ),
    41: (
        "proxy/test_faults.py::test_41_interim_responses_are_passed_on_up_to_a_bound",
        "proxy/test_faults.py::test_41_an_http10_client_gets_the_final_response_only",
        "proxy/test_faults.py::test_41_interim_responses_are_no_answer_in_time",
    ),
    42: (
        "proxy/test_faults.py::42 (RFC 9110 7.8): 101 that nobody asked for",
        "proxy/test_tunnel.py::test_a_101_that_fits_no_request_is_a_fault",
    ),
    43: (
        "proxy/test_tunnel.py::test_a_real_client_and_server_talk_through_it",
        "proxy/test_tunnel.py::test_half_close_is_handed_on_in_both_directions",
        "proxy/test_tunnel.py::test_a_refused_handshake_reaches_the_client_with_its_body",
        "proxy/test_framing.py::43 (RFC 6455 1.3): a WebSocket handshake of old, whose body has no length",
    ),
    44: (
        "proxy/test_faults.py::test_a_response_that_cannot_be_used_is_a_502_that_scripts_can_read",
        "proxy/test_faults.py::test_44_a_response_that_ends_before_its_head_does",
        "proxy/test_faults.py::test_44_an_upstream_that_cannot_be_reached",
    ),
    45: (
        "proxy/test_faults.py::45 (RFC 9112 6.3): lengths that differ",
        "proxy/test_faults.py::45 (RFC 9112 6.3): chunked beside a length",
    ),
    46: (
        "proxy/test_faults.py::test_46_a_cut_body_looks_cut",
        "proxy/test_faults.py::test_46_no_second_status_line_stands_inside_a_cut_body",
        "proxy/test_tls.py::test_a_cut_response_is_seen_as_cut",
    ),
    47: (
        "proxy/test_faults.py::test_47_bytes_behind_a_response_are_nobodys",
        "proxy/test_faults.py::test_47_a_response_on_an_idle_connection_never_reaches_the_next_client",
        "proxy/test_faults.py::test_47_what_comes_until_a_request_is_sent_is_no_response_to_it",
    ),
    48: (
        "proxy/test_faults.py::48 (RFC 9110 9.2.2): POST may have been acted on",
        "proxy/test_faults.py::48: a byte of the response was there",
    ),
    49: (
        "proxy/test_faults.py::49 (RFC 9112 9.3.1): GET on a connection that proved stale",
        "proxy/test_faults.py::test_49_an_upstream_that_hangs_up_every_time_is_asked_twice_at_most",
    ),
    50: (
        "proxy/test_limits.py::test_50_a_connection_that_does_not_open_is_answered_504",
        "proxy/test_limits.py::test_50_a_response_that_does_not_come_is_answered_504",
        "proxy/test_limits.py::test_50_an_upstream_that_does_not_take_the_upload_is_answered_504",
        "proxy/test_limits.py::test_50_a_download_that_stalls_is_cut",
        "proxy/test_faults.py::test_50_an_upstream_that_never_answers",
    ),
    51: ("proxy/test_forwarding.py::test_an_early_answer_reaches_the_client_and_ends_the_connection",),
    52: (
        "proxy/test_forwarding.py::test_an_upload_streams_piece_by_piece",
        "proxy/test_forwarding.py::test_a_download_streams_piece_by_piece",
        "proxy/test_forwarding.py::test_a_client_that_does_not_read_stops_the_upstream",
    ),
    53: (
        "proxy/test_passing.py::test_53_a_coded_body_is_not_looked_into",
        "proxy/test_forwarding.py::content codings are not touched",
    ),
    54: (
        "proxy/test_passing.py::test_54_a_body_of_any_size_arrives_whole_both_ways",
        "proxy/test_memory.py::test_54_a_large_body_through_slow_peers_costs_no_memory",
    ),
    55: ("proxy/test_framing.py::test_55_an_upload_that_the_client_breaks_off_never_looks_complete",),
    56: (
        "proxy/test_limits.py::test_56_a_head_that_does_not_come_is_answered_408",
        "proxy/test_limits.py::test_56_an_upload_that_stalls_is_answered_408",
        "proxy/test_limits.py::test_56_three_hundred_slow_heads_do_not_hold_up_others",
    ),
    57: (
        "proxy/test_faults.py::test_57_a_client_that_is_gone_lets_the_upstream_go",
        "proxy/test_faults.py::test_57_three_hundred_clients_that_leave_cost_no_connection",
        "proxy/test_fuzz.py::test_odd_clients",
    ),
    58: ("proxy/test_passing.py::test_58_those_who_wait_hold_up_nobody",),
    59: (
        "proxy/test_passing.py::test_59_a_method_crosses_as_it_is",
        "proxy/test_passing.py::test_59_trace_is_refused_and_shows_nothing",
        "proxy/test_framing.py::59 (RFC 9110 9.1): a method in lower case is another method",
    ),
    60: (
        "proxy/test_cors_on_the_wire.py::test_11_the_upstreams_cors_fields_are_replaced_by_the_policys",
        "proxy/test_cors_on_the_wire.py::test_45_one_clients_origin_never_shows_up_on_anothers_response",
        "proxy/test_response.py::test_whatever_an_upstream_sends_the_policy_owns_the_cors_fields",
    ),
    61: (
        "proxy/test_cors_on_the_wire.py::test_an_allowed_preflight_is_answered_here",
        "proxy/test_cors_on_the_wire.py::test_15_preflights_work_while_the_upstream_is_down",
        "proxy/test_cors_on_the_wire.py::test_a_refused_preflight_says_why_and_allows_nothing",
    ),
    62: (
        "proxy/test_cors_on_the_wire.py::test_25_error_pages_reflect_nothing_that_could_be_read_as_markup",
        "proxy/test_cors_on_the_wire.py::test_62_an_error_for_head_has_no_body",
        "proxy/test_cors_on_the_wire.py::test_28_errors_of_the_proxy_carry_the_fields_and_say_what_is_wrong",
    ),
}

PAGE = {
    int(number): (rule, does, shown)
    for number, _, rule, does, shown in rows(section(page("docs/http.md"), "The rules"))
}


def says() -> Iterator[str]:
    """What each case says that is sent over a socket as exact bytes, in both directions."""
    framing, faults, passing = test_framing, test_faults, test_passing
    requests = (framing.LENGTHS, framing.CODINGS, framing.FIELDS, framing.LINES, framing.HOSTS, framing.FORMS)
    for table in (*requests, framing.MEANING, framing.CHUNKS, framing.FINE, faults.UNUSABLE, faults.RETRIES):
        yield from (case.says for case in table)
    for lines in (passing.REQUEST_LINES, passing.RESPONSE_LINES):
        yield from (line.says for line in lines)
    yield from (case.says for case in passing.EXPECTATIONS)
    yield from (f"25: {target}" for target in passing.TARGETS)
    yield from (f"53: {coding}" for coding in passing.CODED)
    yield from (f"54: {size}" for size in passing.SIZES)


def test_the_table_is_whole() -> None:
    assert list(SHOWN) == list(range(1, LAST + 1))
    assert list(PAGE) == list(range(1, LAST + 1))


def test_there_are_many_cases_and_each_names_its_rule() -> None:
    every = set(says())  # what a client and an upstream may both do wrong counts once
    assert len(every) >= LEAST_CASES
    for each in every:
        number = re.match(r"(\d+)(?: \(RFC \d+ [\d.]+\))?: ", each)
        assert number, each
        assert 1 <= int(number[1]) <= LAST, each


@pytest.mark.parametrize("number", SHOWN)
def test_what_shows_a_rule_exists(number: int) -> None:
    assert SHOWN[number]
    for shown in SHOWN[number]:
        file, _, name = shown.partition("::")
        assert name in names_in(file), shown


@pytest.mark.parametrize("number", SHOWN)
def test_the_page_names_the_files(number: int) -> None:
    rule, does, shown = PAGE[number]
    assert rule
    assert does
    files = dict.fromkeys(each.partition("::")[0] for each in SHOWN[number])
    assert re.findall(r"`?tests/([^`]+\.py)`?", shown) == list(files)
