// A reader of safetensors files.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "qkv/v1/tensor.pb.h"

struct Array {
  qkv::v1::DataType data_type;
  std::vector<std::int64_t> shape;
  std::string data;  // little-endian, C order
};

using Arrays = std::map<std::string, Array>;

// Every array by its name. Throws std::runtime_error for what is no such file.
Arrays ReadSafetensors(const std::filesystem::path& path);

// Throws std::runtime_error if there is none of that name.
const Array& Find(const Arrays& arrays, const std::string& name);
