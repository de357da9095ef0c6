// From a test vector to a request of the contract.
#pragma once

#include <google/protobuf/message.h>

#include "conformance/safetensors.h"
#include "conformance/suite.h"

// Fills an empty request of the vector's method: its JSON, and its tensors at their paths. Throws std::runtime_error
// where they do not fit the message.
void FillRequest(const Case& vector, const Arrays& arrays, google::protobuf::Message& request);
