-- How Argo CD sees a SibylWorkspace. Reads nothing but metadata and status; runs on Lua 5.1.
local health = { status = "Progressing", message = "waiting for the operator" }

if obj.metadata ~= nil and obj.metadata.deletionTimestamp ~= nil then
  health.message = "being deleted"
  return health
end

local status = obj.status
if status == nil or status.conditions == nil then
  return health
end

-- What is said of an older spec says nothing of this one.
if status.observedGeneration == nil or status.observedGeneration ~= obj.metadata.generation then
  health.message = "waiting for the operator to read the latest spec"
  return health
end

local found = {}
for _, condition in ipairs(status.conditions) do
  found[condition.type] = condition
end

local function holds(kind)
  return found[kind] ~= nil and found[kind].status == "True"
end

local function words(kind)
  local condition = found[kind]
  return (condition.reason or kind) .. ": " .. (condition.message or "")
end

if holds("Paused") then
  return { status = "Suspended", message = words("Paused") }
end
if holds("Stalled") then
  return { status = "Degraded", message = words("Stalled") }
end
if holds("Ready") then
  return { status = "Healthy", message = words("Ready") }
end
if holds("Reconciling") then
  health.message = words("Reconciling")
elseif found.Ready ~= nil then
  health.message = words("Ready")
end
return health
