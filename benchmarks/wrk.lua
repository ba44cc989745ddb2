-- One fixed request, read from the file named in the first argument after `--`: method, path, body and headers as lines
-- of `name<TAB>value`, the body last. Prints one line of figures when it is done; times are in microseconds.
function init(arguments)
   local file = assert(io.open(arguments[1], "rb"))
   local head, body = file:read("*a"):match("^(.-)\n\n(.*)$")
   file:close()
   local headers, method, path = {}, "POST", "/"
   for name, value in head:gmatch("([^\t\n]+)\t([^\n]*)") do
      if name == ":method" then method = value elseif name == ":path" then path = value else headers[name] = value end
   end
   ready = wrk.format(method, path, headers, body)
   pause_ms = tonumber(arguments[2] or "0")
   -- wrk asks the global environment whether there is a delay; a function that is there costs time even when it gives 0.
   if pause_ms > 0 then delay = function() return pause_ms end end
end

function request()
   return ready
end

function done(summary, latency, requests)
   local errors = summary.errors
   io.write(string.format(
      "FIGURES %d %d %d %.1f %.1f %.1f\n", summary.requests, summary.duration,
      errors.connect + errors.read + errors.write + errors.status + errors.timeout,
      latency:percentile(50), latency:percentile(99), latency.max))
end
