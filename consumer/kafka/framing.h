#pragma once

// What stands before each message on a topic, as Confluent's registry has it: a zero byte, and the
// id of the writer's schema as four bytes, most significant first.
enum { FRAMING_SIZE = 5 };
