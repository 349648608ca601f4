#pragma once

// The bytes before each message on a topic, as Confluent's registry defines them: a zero byte, and
// the id of the writer's schema as four bytes, most significant first.
enum { FRAMING_SIZE = 5 };
