// The texts by which the values of an enum are written down: in schemas, tables, files and options.
#pragma once

// Which of `symbols` the text is, or -1: it is none of them.
int symbol_find(const char *const *symbols, int count, const char *text);
