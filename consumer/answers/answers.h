// All paths below /v1/, in one table.
#pragma once

#include "consumer/api/api_paths.h"

extern const struct api_paths answers_paths;
