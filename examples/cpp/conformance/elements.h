// The data types of the contract: their names in safetensors, and their bytes as numbers.
#pragma once

#include <string>
#include <vector>

#include "qkv/v1/tensor.pb.h"

// As "BF16" for DATA_TYPE_BFLOAT16; throws std::runtime_error for a name that the contract has no type for.
qkv::v1::DataType DataTypeOf(const std::string& safetensors_name);

// Little-endian bytes as float64, which is exact for every type but large 64-bit integers. Throws std::runtime_error if
// they are no whole number of elements.
std::vector<double> Widen(qkv::v1::DataType type, const std::string& bytes);
