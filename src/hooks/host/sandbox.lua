-- What a script finds, made from what Lua brings. Runs once in a fresh state, before any text of the script.
--
-- Lua turns its count hook off inside finalisers and message handlers, and a protected call swallows what the hook raises: so
-- `__gc` is refused, `xpcall` is made from `pcall`, and everything that catches errors raises again once the run is over its
-- limit (`condemned`).

local condemned, plain, log, traceback, pending, require_own = ...

local error, select, type, tostring, rawget, next = error, select, type, tostring, rawget, next
local getmetatable = getmetatable
local raw_pcall, raw_load, raw_setmetatable, raw_collect = pcall, load, setmetatable, collectgarbage
local raw_resume, raw_close, create, yield = coroutine.resume, coroutine.close, coroutine.create, coroutine.yield
local status, running, isyieldable = coroutine.status, coroutine.running, coroutine.isyieldable
local pack, unpack, concat = table.pack, table.unpack, table.concat

local function stop()
    local why = condemned()
    if why then error(why, 0) end
end

local function settle(ok, ...)
    if ok then return true, ... end
    stop()
    return false, plain((...))
end

function pcall(...)
    return settle(raw_pcall(...))
end

local function answer(handler, ok, ...)
    if ok then return true, ... end
    stop()
    return false, handler(plain((...)))
end

function xpcall(call, handler, ...)
    if type(handler) ~= "function" then error("bad argument #2 to 'xpcall' (function expected, got " .. type(handler) .. ")", 2) end
    return answer(handler, raw_pcall(call, ...))
end

function setmetatable(...)
    local _, meta = ...
    if type(meta) == "table" and rawget(meta, "__gc") ~= nil then error("a metatable here has no `__gc`: close what you open", 2) end
    local ok, result = raw_pcall(raw_setmetatable, ...)
    if not ok then error(result, 2) end
    return result
end

function load(chunk, name, _, ...)
    return raw_load(chunk, name, "t", ...)
end

function collectgarbage(what)
    if what ~= nil and what ~= "count" then error("collectgarbage does `count` only", 2) end
    return raw_collect("count")
end

function print(...)
    local words = pack(...)
    for i = 1, words.n do words[i] = tostring(words[i]) end
    log(concat(words, "\t"))
end

-- A coroutine that a script resumes may wait: what it waits for passes outwards, and the answer comes back inwards.
local function pass(co, ok, ...)
    if not ok then
        stop()
        return false, plain((...))
    end
    if select("#", ...) == 1 and (...) == pending then
        if not isyieldable() then error("cannot wait here: move the call out of the callback", 3) end
        return pass(co, raw_resume(co, yield(pending)))
    end
    return true, ...
end

local function resume(co, ...)
    return pass(co, raw_resume(co, ...))
end

local function unwrap(co, ok, ...)
    if ok then return ... end
    raw_close(co)
    stop()
    error((...), 0)
end

local function close(co)
    local ok, reason = raw_close(co)
    stop()
    if ok then return true end
    return false, plain(reason)
end

coroutine = {
    create = create,
    resume = resume,
    close = close,
    yield = yield,
    status = status,
    running = running,
    isyieldable = isyieldable,
    wrap = function(call)
        local co = create(call)
        return function(...) return unwrap(co, resume(co, ...)) end
    end,
}

os = { time = os.time, date = os.date, clock = os.clock, difftime = os.difftime }
debug = { traceback = traceback }
dofile, loadfile, warn, io, package = nil, nil, nil, nil, nil
string.dump = nil
require = require_own

-- A table that can be read like any other and not be changed; `known` makes a field that no table of its sort has a mistake.
local function freeze(data, what, known, unknown)
    for key, value in next, data do
        if type(value) == "table" and getmetatable(value) ~= "read-only" then data[key] = freeze(value, what) end
    end
    local function each(_, key) return next(data, key) end
    local index = data
    if known then
        index = function(_, key)
            local value = data[key]
            if value == nil and known[key] == nil then unknown(key) end
            return value
        end
    end
    return raw_setmetatable({}, {
        __frozen = data,
        __index = index,
        __newindex = function() error(what .. " is read-only; copy it first", 2) end,
        __len = function() return #data end,
        __pairs = function(self) return each, self, nil end,
        __metatable = "read-only",
        __name = what,
    })
end

return freeze
