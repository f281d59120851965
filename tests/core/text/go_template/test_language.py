"""The language: what Go's own text/template (1.19) writes for the same sources and values."""

import pytest

from aiadmin_core.text.go_template.errors import GoTemplateError
from aiadmin_core.text.go_template.evaluate import evaluate
from aiadmin_core.text.go_template.functions import NAMES
from aiadmin_core.text.go_template.parser import parse

VALUES = {
    "A": "text",
    "B": "",
    "L": ["x", "y", "z"],
    "E": [],
    "M": {"b": 2, "a": 1},
    "N": 3,
    "F": 1.5,
    "T": True,
    "X": False,
    "R": [{"k": "1"}, {"k": "2"}],
    "S": "<a & b>",
    "nil": None,
}
WRITTEN = [
    ("{{ .A }}", "text"),
    ("{{- .A -}} x", "textx"),
    ("a {{- .A }} b", "atext b"),
    ("a  {{ .A -}}   b", "a  textb"),
    ("{{/* c */}}x", "x"),
    ("a {{- /* c */ -}} b", "ab"),
    ("{{if .B}}1{{else if .T}}2{{else}}3{{end}}", "2"),
    ("{{with .A}}{{.}}{{else}}no{{end}}", "text"),
    ("{{with .B}}{{.}}{{else}}no{{end}}", "no"),
    ("{{with $x := .A}}{{$x}}{{end}}", "text"),
    ("{{range .L}}{{.}},{{end}}", "x,y,z,"),
    ("{{range $i, $e := .L}}{{$i}}={{$e}} {{end}}", "0=x 1=y 2=z "),
    ("{{range $e := .L}}{{$e}}{{end}}", "xyz"),
    ("{{range .E}}x{{else}}empty{{end}}", "empty"),
    ("{{range $k,$v := .M}}{{$k}}{{$v}}{{end}}", "a1b2"),
    ('{{range .L}}{{if eq . "y"}}{{continue}}{{end}}{{.}}{{end}}', "xz"),
    ('{{range .L}}{{if eq . "y"}}{{break}}{{end}}{{.}}{{end}}', "x"),
    ("{{range .L}}{{$.A}}{{end}}", "texttexttext"),
    ("{{$x := 1}}{{if .T}}{{$x = 2}}{{end}}{{$x}}", "2"),
    ("{{$x := 1}}{{if .T}}{{$x := 2}}{{$x}}{{end}}{{$x}}", "21"),
    ('{{define "t"}}[{{.}}]{{end}}{{template "t" .A}}', "[text]"),
    ('{{block "b" .A}}<{{.}}>{{end}}', "<text>"),
    ('{{define "t"}}[{{.}}{{$}}]{{end}}{{range .L}}{{template "t" .}}{{end}}', "[xx][yy][zz]"),
    ('{{printf "%s-%d-%v" .A 3 .T}}', "text-3-true"),
    ('{{printf "%q" .A}}', '"text"'),
    ('{{printf "%5d|%-5d|%05d" 3 3 3}}', "    3|3    |00003"),
    ('{{printf "%.2f %g" .F .F}}', "1.50 1.5"),
    ('{{print .A 1 2 "x" 3}}', "text1 2x3"),
    ("{{println .A 1}}", "text 1\n"),
    ("{{len .L}} {{len .A}} {{len .M}}", "3 4 2"),
    ('{{index .L 1}}{{index .M "a"}}', "y1"),
    ('{{index .R 1 "k"}}', "2"),
    ("{{slice .L 1}}{{slice .A 1 2}}", "[y z]e"),
    ('{{eq .A "text"}} {{ne .A "x"}} {{lt 1 2}} {{le 2 2}} {{gt 1 2}} {{ge 2 2}}', "true true true true false true"),
    ('{{eq .A "a" "text"}}', "true"),
    ("{{and .T .A}} {{and .B .A}} {{or .B .A}} {{or .B .X}} {{not .B}}", "text  text false true"),
    ('{{.A | printf "%s!"}}', "text!"),
    ('{{.A | printf "%s-%s" "q"}}', "q-text"),
    ('{{"quoted" | len}}', "6"),
    ("{{(index .R 0).k}}", "1"),
    ("{{ (len .L) | eq 3 }}", "true"),
    ("{{json .M}} {{json .S}} {{json .L}}", '{"a":1,"b":2} "\\u003ca \\u0026 b\\u003e" ["x","y","z"]'),
    ("{{html .S}} {{js .S}} {{urlquery .S}}", "&lt;a &amp; b&gt; \\u003Ca \\u0026 b\\u003E %3Ca+%26+b%3E"),
    ("{{.F}} {{.N}} {{.T}} {{.L}}", "1.5 3 true [x y z]"),
    ("{{`raw {{x}}`}}", "raw {{x}}"),
    ('{{"esc \\"q\\" \\n\\t\\u00e9"}}', 'esc "q" \n\té'),
    ("{{'a'}}", "97"),
    ("{{0x1F}} {{1e3}} {{-3}} {{1_000}}", "31 1000 -3 1000"),
    ("{{if and .T (not .B) (eq (len .L) 3)}}y{{end}}", "y"),
    ('{{if or (eq .A "q") (eq .N 3.0)}}y{{end}}', "y"),
    ("{{- $l := eq (len (slice .L 2)) 1 }}{{$l}}", "true"),
    ("{{range $i, $_ := .L}}{{- $last := eq (len (slice $.L $i)) 1 -}}{{if $last}}!{{end}}{{end}}", "!"),
    ("{{true}}{{false}}", "truefalse"),
    ("{{not true}} {{eq true false}}", "false false"),
    ('{{ .A}}{{.A }}{{ .A | len | printf "%03d" }}', "texttext004"),
    ('x{{- "" -}}y', "xy"),
    ("{{range $i := .L}}{{range $j := $.L}}{{if eq $i $j}}{{$i}}{{end}}{{end}}{{end}}", "xyz"),
    ("{{with .R}}{{range .}}{{.k}}{{end}}{{end}}", "12"),
    ('{{printf "%v" .L}} {{printf "%s" .L}}', "[x y z] [x y z]"),
    ('{{ $a := "x" }}{{ $a = printf "%s\\n\\n%s" $a .A }}{{ $a }}', "x\n\ntext"),
    ("line */ -}}", "line */ -}}"),
    (" x", " x"),
    ("{{.M.a}} {{$.M.b}} {{$m := .M}}{{$m.a}}", "1 2 1"),
    ('{{if eq .A "text" }}{{- " "}}/think{{end}}', " /think"),
    ('{{printf "%t" .T}} {{printf "%x" 255}} {{printf "%c" 65}} {{printf "%%"}}', "true ff A %"),
    ("{{print}} {{print .L}}", " [x y z]"),
    ("{{eq .nil nil}}", "true"),
    ("{{if .nil}}a{{else}}b{{end}}", "b"),
    ('{{- $c := 0 }}{{- range .L }}{{- $c = len (printf "a%*s" $c "") }}{{- end }}{{ $c }}', "3"),
    (
        (
            '{{- $s := "" }}{{- range .L }}{{- if (ne $s "") }}{{- $s = print $s "\\n\\n" }}{{- end}}'
            "{{- $s = print $s . }}{{- end }}{{ $s }}"
        ),
        "x\n\ny\n\nz",
    ),
    ('{{ if (and\n (ne .A "x")\n (or (lt (len .A) 7) (ne (slice .A 0 7) "control"))\n)}}y{{end}}', "y"),
    ('{{print ` {"length": "` (slice .A 1) `"}` }}', ' {"length": "ext"}'),
    ("{{ range $i, $t := .L }}{{ if $i }} | {{ end }}{{ $t }}{{ end }}", "x | y | z"),
    ("{{- /* Find */ -}} x {{- /* y */ -}}  z", "xz"),
    ("{{if .T}}a{{- end -}}{{- /* c */ -}}\n b", "ab"),
    ('{{ $h := false }}{{ range .L }}{{ if eq . "y" }}{{ $h = true -}} {{ end }}{{ end }}{{ $h }}', "true"),
    ('{{ "{" }}"name"{{ "}" }}', '{"name"}'),
    ('{{index .R 0 "k"}}{{with index .R 1}}{{.k}}{{end}}', "12"),
    ("{{ with $x := index .L 0 }}{{ $x }}{{ . }}{{ end }}", "xx"),
    ('{{ .L | len | printf "%d!" }}', "3!"),
    ("{{ $.M.a }}{{ with .M }}{{ .b }}{{ $.A }}{{ end }}", "12text"),
    ("{{ range $k, $v := .M }}<{{ $k }}={{ $v }}>{{ end }}", "<a=1><b=2>"),
    ("{{- range $i, $_ := .L }}\n{{- if le (len (slice $.L $i)) 2 }}{{ . }}{{ end }}{{ end }}", "yz"),
    ('{{ if not (or (eq .A "a") (eq .A "b")) }}n{{ end }}', "n"),
    ('{{ or .B "default" }}|{{ and .A "v" }}', "default|v"),
    ('{{ define "x" }}{{ if . }}{{ template "x" "" }}r{{ end }}{{ end }}{{ template "x" .A }}', "r"),
    ("{{ $a := .A }}{{ $b := $a }}{{ $b }}", "text"),
    ("{{ -1 }}{{ +2 }}", "-12"),
    ('{{ len "é" }}{{ slice "héllo" 0 3 }}', "2hé"),
    (
        "{{ 07 }} {{ 0b11 }} {{ 0o17 }} {{ .5 }} {{ 1e-7 }} {{ 1e22 }} {{ 100000000000000000000.0 }}",
        "7 3 15 0.5 1e-07 1e+22 1e+20",
    ),
    ('{{ html "<a>\'&\\"" }}', "&lt;a&gt;&#39;&amp;&#34;"),
    ('{{ "\\"" }}', '"'),
    ("{{ '\\n' }}", "10"),
    ('{{ print 1 2 }} {{ print "a" "b" }} {{ print 1 "b" 2 }}', "1 2 ab 1b2"),
    ("{{ println }}x", "\nx"),
    ('{{ lt "a" "b" }}', "true"),
    (
        "{{ 1000000.0 }} {{ 123456.5 }} {{ 1e-5 }} {{ 0.0001 }} {{ 12345678.25 }}",
        "1e+06 123456.5 1e-05 0.0001 1.234567825e+07",
    ),
]
REFUSED = [
    "{{if .T}}",
    "{{end}}{{.X.Y}}",
    "{{$x}}",
    "{{foo}}",
    "{{if}}x{{end}}",
    "{{end}}",
    "{{if .T}}x",
    "{{.A",
    "{{range .L}}{{else}}{{break}}{{end}}",
    "{{break}}",
    '{{template "none"}}',
    "{{eq 1}}",
    '{{eq 1 "a"}}',
    '{{lt "a" 1}}',
    '{{.A "arg"}}',
    "{{3 4}}",
    "{{len 3}}",
    "{{index .L 9}}",
    "{{slice .L 2 1}}",
    "{{1 | 2}}",
    '{{define "x"}}a',
    "{{.A.B}}",
    "{{if .T}}a{{else}}b{{else}}c{{end}}",
    "{{with .T}}{{$y := .}}{{end}}{{$y}}",
    "{{and}}",
    '{{"a" "b"}}',
    "{{/* multi",
    "{{- /* no close }}",
    "{{ range .S }}x{{ end }}",
    "{{ not }}",
    "{{ not 1 2 }}",
    "{{ .T.x }}",
]
"""What Go refuses, too, when it reads the template or when it writes it."""


@pytest.mark.parametrize(("source", "expected"), WRITTEN)
def test_the_same_is_written(source, expected):
    assert evaluate(parse(source, NAMES), VALUES) == expected


@pytest.mark.parametrize("source", REFUSED)
def test_the_same_is_refused(source):
    with pytest.raises(GoTemplateError, match="line "):
        evaluate(parse(source, NAMES), VALUES)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("[{{ .Missing }}]", "[]"),
        ("{{ .Missing.Deep }}", ""),
        ("{{ range 3 }}{{ . }}{{ end }}", "012"),
        ("{{ gt .N 2.5 }}", "true"),
        ("a{{- /* a comment\nof two lines */ -}}  b", "ab"),
        ("{{ with .B }}x{{ else with .A }}{{ . }}{{ end }}", "text"),
        ("{{ range .L }}\n{{- . -}}\n{{ end }}", "xyz"),
    ],
)
def test_what_later_versions_or_we_write(source, expected):
    """Nothing of what is absent, not "<no value>"; whole numbers are gone through, and compare with others."""
    assert evaluate(parse(source, NAMES), VALUES) == expected
