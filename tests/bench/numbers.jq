# SPDX-License-Identifier: Apache-2.0
# Numbers for people: three digits that mean something, thousands apart.

def thousands:
	tostring | if length > 3 then (.[:-3] | thousands) + "," + .[-3:] else . end;

def number:
	if . >= 100 then round | thousands
	elif . >= 10 then . * 10 | round / 10 | tostring
	elif . >= 1 then . * 100 | round / 100 | tostring
	else . * 1000 | round / 1000 | tostring
	end;
